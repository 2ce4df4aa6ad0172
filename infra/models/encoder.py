"""What every text encoder offers, whoever computes the vectors."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from time import perf_counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from infra.errors import Permanent
from infra.settings import SettingsError
from infra.telemetry.metrics import Metric, count, observe
from schemas.dead_letters import Reason

FloatArray = NDArray[np.float32]
Use = Literal["document", "query"]

UNIT_TOLERANCE = 1e-3
"""How far a vector's length may be from 1: float32 rounding stays under 1e-6, a half-precision server under 1e-3."""


class EncoderError(SettingsError):
    """An encoder cannot be opened: the message names the model or setting and what to do."""


class Encoder(ABC):
    """Turns texts into unit vectors whose inner product is their cosine similarity.

    Encoding raises `Transient` when a served model is away and `Permanent` when it refuses the text for good or returns
    what is no unit vector. CPU work runs in a thread: awaiting never blocks the event loop.
    """

    def __init__(self, model_id: str, dimension: int, max_tokens: int) -> None:
        self.model_id = model_id
        """Names the model and what else decides its vectors: two encoders with one id give the same vectors."""
        self.dimension = dimension
        self.max_tokens = max_tokens
        """Longer texts are cut, not refused."""

    async def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 [len(texts), dimension], unit rows in the order of `texts`. No texts give shape [0, dim]."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        return await self._measured(texts, "document")

    async def encode_query(self, text: str) -> FloatArray:
        """Return float32 [dimension], unit length."""
        vectors = await self.encode_queries([text])
        return np.asarray(vectors[0], dtype=np.float32)

    async def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 [len(texts), dimension], unit rows in the order of `texts`, of which there is at least one."""
        return await self._measured(texts, "query")

    async def count_tokens(self, texts: Sequence[str]) -> int:  # noqa: ARG002 - those that can count do
        """Return how many tokens of `texts` are read, 0 where this encoder cannot tell."""
        return 0

    async def prepare(self) -> None:
        """Load what the first text would wait for; encoders that have it loaded do nothing. Raises EncoderError."""
        return

    async def close(self) -> None:
        """Free what the encoder holds (threads, connections)."""
        return

    @abstractmethod
    async def _vectors(self, texts: Sequence[str], use: Use) -> FloatArray:
        """Return float32 [len(texts), dimension], unit rows; `texts` is not empty."""

    async def _measured(self, texts: Sequence[str], use: Use) -> FloatArray:
        started = perf_counter()
        vectors = checked(await self._vectors(texts, use), len(texts), self.dimension)
        observe(Metric.ENCODE_SECONDS, perf_counter() - started, self.model_id, use)
        count(Metric.ENCODE_TEXTS_TOTAL, self.model_id, use, by=len(texts))
        return vectors


def checked(vectors: FloatArray, rows: int, dimension: int) -> FloatArray:
    """Return `vectors` if they are float32 [rows, dimension], finite and of unit length.

    A not-a-number in a vector store is accepted and never found again, so it must not get there.
    Raises Permanent(INVALID_VECTOR).
    """
    if vectors.shape != (rows, dimension):
        raise Permanent(Reason.INVALID_VECTOR, f"expected shape {(rows, dimension)}, got {vectors.shape}")
    if vectors.dtype != np.float32:
        raise Permanent(Reason.INVALID_VECTOR, f"expected float32, got {vectors.dtype}")
    if not np.isfinite(vectors).all():
        raise Permanent(Reason.INVALID_VECTOR, "a vector holds a value that is not finite")
    off = np.abs(np.linalg.norm(vectors, axis=1) - 1)
    if rows and float(off.max()) > UNIT_TOLERANCE:
        raise Permanent(Reason.INVALID_VECTOR, f"a vector's length is off by {float(off.max()):.4f} from 1")
    return vectors


def normalised(vectors: FloatArray) -> FloatArray:
    """Return [n, dim] with rows scaled to unit length. Raises Permanent(INVALID_VECTOR) for a row of zeros or NaN."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise Permanent(Reason.INVALID_VECTOR, "a vector has no direction (zero or not finite)")
    return np.asarray(vectors / lengths, dtype=np.float32)
