"""What every text encoder offers, whoever computes the vectors."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from infra.errors import Permanent
from schemas.dead_letters import Reason

FloatArray = NDArray[np.float32]

UNIT_TOLERANCE = 1e-3
"""How far a vector's length may be from 1: float32 rounding stays under 1e-6, a half-precision server under 1e-3."""


class EncoderError(Exception):
    """An encoder cannot be opened: the message names the model or setting and what to do."""


class Encoder(ABC):
    """Turns texts into unit vectors whose inner product is their cosine similarity.

    Both methods raise `Transient` when a served model is away and `Permanent` when it refuses the text for good. CPU
    work runs in a thread: awaiting them never blocks the event loop.
    """

    model_id: str
    """Names the model and what else decides its vectors; two encoders with one id give the same vectors."""
    dimension: int
    max_tokens: int
    """Longer texts are cut, not refused."""

    @abstractmethod
    async def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 [len(texts), dimension], unit rows in the order of `texts`. No texts give shape [0, dim]."""

    @abstractmethod
    async def encode_query(self, text: str) -> FloatArray:
        """Return float32 [dimension], unit length."""

    async def close(self) -> None:
        """Free what the encoder holds (threads, connections)."""
        return


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
    lengths = np.linalg.norm(vectors, axis=1)
    if rows and float(np.abs(lengths - 1).max()) > UNIT_TOLERANCE:
        raise Permanent(
            Reason.INVALID_VECTOR, f"a vector has length {float(lengths[np.abs(lengths - 1).argmax()]):.4f}"
        )
    return vectors


def normalised(vectors: FloatArray) -> FloatArray:
    """Return [n, dim] with rows scaled to unit length. Raises Permanent(INVALID_VECTOR) for a row of zeros or NaN."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise Permanent(Reason.INVALID_VECTOR, "a vector has no direction (zero or not finite)")
    return np.asarray(vectors / lengths, dtype=np.float32)
