"""Encodes texts with sentence-transformers on torch: any of its models, on a GPU where there is one (extra `gpu`)."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from infra.models.encoder import EncoderError, FloatArray, Use, normalised
from infra.models.gathering import GatheringEncoder

BATCH_TEXTS = 64


class SentenceTransformersEncoder(GatheringEncoder):
    """A sentence-transformers model; its own prompts for questions and documents apply."""

    def __init__(self, model: Any, name: str) -> None:
        super().__init__(name, int(model.get_sentence_embedding_dimension()), int(model.max_seq_length or 512))
        self._model = model
        # One thread: a torch model is not made for concurrent calls, and a GPU is full with one.
        self._thread = ThreadPoolExecutor(1, "encode")

    @classmethod
    def open(cls, name: str, device: str = "") -> "SentenceTransformersEncoder":
        """Load a model by hub id or folder. Blocks. Raises EncoderError without the extra or the model."""
        try:
            from sentence_transformers import (  # type: ignore[import-not-found,unused-ignore]
                SentenceTransformer,
            )
        except ImportError as error:
            raise EncoderError("sentence-transformers is not installed: install the extra `gpu`") from error
        try:
            return cls(SentenceTransformer(name, device=device or None), name)
        except (OSError, ValueError) as error:
            raise EncoderError(f"{name}: cannot be loaded: {error}") from error

    async def _vectors(self, texts: Sequence[str], use: Use) -> FloatArray:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._encode, list(texts), use)

    def _encode(self, texts: list[str], use: Use) -> FloatArray:
        encode = self._model.encode_query if use == "query" else self._model.encode_document
        vectors = encode(texts, batch_size=BATCH_TEXTS, convert_to_numpy=True, show_progress_bar=False)
        return normalised(np.asarray(vectors, dtype=np.float32))

    async def close(self) -> None:
        """Stop after the batch at work."""
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)
