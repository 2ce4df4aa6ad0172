"""A deterministic encoder without a model, for tests of delivery under load. Its vectors know words, not meaning."""

import asyncio
from collections.abc import Sequence

import numpy as np

from infra.models.encoder import Encoder, FloatArray, Use, normalised
from infra.models.sparse import term_id, tokenise

DIMENSION = 64


class HashEncoder(Encoder):
    """Feature hashing (Weinberger et al. 2009): each term adds +1 or -1 to one of 64 components."""

    def __init__(self) -> None:
        super().__init__("hash-64", DIMENSION, max_tokens=1_000_000)

    async def _vectors(self, texts: Sequence[str], use: Use) -> FloatArray:  # noqa: ARG002 - both uses are alike
        return await asyncio.to_thread(lambda: normalised(np.stack([_hashed(text) for text in texts])))

    async def count_tokens(self, texts: Sequence[str]) -> int:
        """Return how many terms of `texts` are read."""
        return sum(len(tokenise(text)) for text in texts)


def _hashed(text: str) -> FloatArray:
    vector = np.zeros(DIMENSION, dtype=np.float32)
    for term in tokenise(text):
        identity = term_id(term)
        vector[identity % DIMENSION] += 1 if identity >> 31 else -1
    # A text without terms, or whose terms cancel out, still needs a direction.
    if not vector.any():
        vector[0] = 1
    return vector
