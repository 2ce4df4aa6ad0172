"""A cache of question vectors, so that a question asked again is not encoded again."""

from hashlib import sha256

import numpy as np
from redis.asyncio import Redis

from infra.models.encoder import UNIT_TOLERANCE, FloatArray
from infra.redis.client import translating

PREFIX = "millrace:query-vector:1"
"""Ends in the layout's version: a change of layout leaves the old values to their expiry."""


class QueryVectors:
    """Vectors by workspace, model and text. Both methods raise Transient, or Permanent for a foreign value."""

    def __init__(self, client: Redis, ttl_s: int) -> None:
        self._client = client
        self._ttl_s = ttl_s

    async def get(self, workspace: str, model: str, text: str, dimension: int) -> FloatArray | None:
        """Return the unit vector [dimension] of `text`, or None if it is not there or is no such vector."""
        async with translating():
            kept = await self._client.get(_key(workspace, model, text))
        if not isinstance(kept, bytes) or len(kept) != dimension * np.dtype(np.float32).itemsize:
            return None
        vector = np.frombuffer(kept, dtype="<f4").astype(np.float32)
        # Anyone who can write to the cache could otherwise send a vector that the search refuses for ever.
        return vector if abs(float(np.linalg.norm(vector)) - 1) <= UNIT_TOLERANCE else None

    async def put(self, workspace: str, model: str, text: str, vector: FloatArray) -> None:
        """Keep `vector` (float32, unit length) for the life time that was set."""
        async with translating():
            await self._client.set(_key(workspace, model, text), vector.astype("<f4").tobytes(), ex=self._ttl_s)


def _key(workspace: str, model: str, text: str) -> str:
    # The text is hashed: questions are not to be read in a cache's key list, and keys stay short.
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{PREFIX}:{workspace}:{sha256(model.encode()).hexdigest()[:16]}:{digest}"
