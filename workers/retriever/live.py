"""Which index questions read, and the encoder of its model."""

import asyncio
from collections.abc import Sequence
from time import monotonic

import asyncpg

from infra.errors import Transient
from infra.models.encoder import Encoder
from infra.postgres import indexes
from infra.postgres.indexes import Index


class LiveIndex:
    """The live row of the registry, read again when it is older than `ttl_s` seconds."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", ttl_s: float) -> None:
        self._pool = pool
        self._ttl_s = ttl_s
        self._row: Index | None = None
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    async def current(self) -> Index:
        """Return the live index. Raises Transient while there is none, or Postgres is away and nothing was read yet.

        During an outage the last row stands: a switch of the live index cannot happen without Postgres either.
        """
        async with self._reading:
            if self._row is None or monotonic() - self._read_at >= self._ttl_s:
                try:
                    self._row = await indexes.live(self._pool)
                except Transient:
                    if self._row is None:
                        raise
                self._read_at = monotonic()
            return self._row


class Encoders:
    """The open encoders by model."""

    def __init__(self, encoders: Sequence[Encoder]) -> None:
        self._by_model = {encoder.model_id: encoder for encoder in encoders}

    def of(self, index: Index) -> Encoder:
        """Return the encoder of the index's model.

        Raises Transient if it is not open here: an operator has switched the live index, and no question is at fault.
        """
        encoder = self._by_model.get(index.model)
        if encoder is None or encoder.dimension != index.dimension:
            raise Transient(
                "encoder",
                f"index {index.index_id} holds vectors of {index.model} ({index.dimension} dimensions), open are "
                f"{', '.join(self._by_model) or 'none'}: set MILLRACE_ENCODER or RETRIEVER_FURTHER_ENCODERS",
            )
        return encoder
