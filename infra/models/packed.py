"""A vector inside an event: half floats in base64, a quarter of what decimal numbers take.

Rounding a unit vector to half floats moves a cosine by less than 0.001.
"""

from base64 import b64decode, b64encode
from binascii import Error

import numpy as np

from infra.models.encoder import UNIT_TOLERANCE, FloatArray

_HALF = np.dtype("<f2")


def pack(vector: FloatArray) -> str:
    """Return `vector` [dimension] as text."""
    return b64encode(vector.astype(_HALF).tobytes()).decode("ascii")


def unpack(packed: str) -> FloatArray | None:
    """Return the unit vector, None if the text holds none."""
    try:
        content = b64decode(packed, validate=True)
    except (Error, ValueError):
        return None
    if not content or len(content) % _HALF.itemsize:
        return None
    vector = np.frombuffer(content, dtype=_HALF).astype(np.float32)
    length = float(np.linalg.norm(vector)) if np.isfinite(vector).all() else 0.0
    if abs(length - 1) > UNIT_TOLERANCE:
        return None
    return np.asarray(vector / length, dtype=np.float32)
