"""Encodes texts for whoever asks the gateway for vectors."""

from collections.abc import Awaitable, Callable

import numpy as np

from infra.models.encoder import Encoder, FloatArray
from infra.postgres.indexes import Index
from infra.queueing.slots import NoTurnError, Slots
from schemas.chat import Embeddings
from schemas.embedding import EmbeddingRequest
from schemas.event import now

SLICE = 32
"""Texts encoded in one turn: the encoder is shared with other workspaces, the embedder and questions."""


class UnknownModelError(Exception):
    """The live index has another model than the one asked for."""


class LateError(Exception):
    """The deadline has come before the last text."""


class Vectoriser:
    """Encodes with the model of the live index, on the side that is asked for."""

    def __init__(
        self, live: Callable[[], Awaitable[Index]], encoder_of: Callable[[Index], Encoder], turns: Slots
    ) -> None:
        self._live = live
        self._encoder_of = encoder_of
        self._turns = turns

    async def vectors(self, request: EmbeddingRequest) -> tuple[Embeddings, int]:
        """Return the vectors of the texts, and how many tokens were read (0 where the encoder does not count).

        Raises UnknownModelError, LateError, and what the encoder raises.
        """
        index = await self._live()
        if request.model not in ("", index.model):
            raise UnknownModelError(index.model)
        encoder = self._encoder_of(index)
        slices = [request.texts[at : at + SLICE] for at in range(0, len(request.texts), SLICE)]
        rows: list[FloatArray] = []
        tokens = 0
        for texts in slices:
            left_s = (request.deadline - now()).total_seconds()
            if left_s <= 0:
                raise LateError
            try:
                async with self._turns.slot(request.workspace, request.accepted_at.timestamp(), within_s=left_s):
                    encode = encoder.encode_documents if request.use == "document" else encoder.encode_queries
                    rows.append(await encode(texts))
                    tokens += await encoder.count_tokens(texts)
            except NoTurnError as error:
                raise LateError from error
        whole = np.concatenate(rows).astype("<f4")
        return Embeddings(model=index.model, dimension=encoder.dimension, vectors=whole.tobytes()), tokens
