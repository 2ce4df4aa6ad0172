"""One open collection: applies changes, answers reads, and makes writes durable together.

The engine's log keeps an applied change through a SIGKILL, but nothing is synced to the disk before `flush()` (about
12 ms). So a write that waits is answered after the next flush, and all writes that arrive meanwhile share one.
"""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from qdrant_edge import CountRequest, EdgeShard, UpdateOperation

from infra.qdrant.door.changes import Change
from infra.qdrant.door.deciding import Decision
from infra.qdrant.door.faults import BadRequest, Fault, NotFound, engine
from infra.qdrant.door.reading import PointId
from infra.qdrant.door.schema import Schema

_log = logging.getLogger(__name__)

GROUP_S = 0.002
"""How long a flush waits for company, in seconds: long enough for requests that are half received."""
LAZY_FLUSH_S = 1.0
"""A write that nobody waits for is on disk after this many seconds."""
MAX_UNFLUSHED = 32 * 1024 * 1024
"""Bytes of requests after which a flush comes first: the log grows by them until a flush (its segments hold 32 MB)."""


class Collection:
    """A shard with its schema. All methods run on the event loop: the engine holds the interpreter lock anyway."""

    def __init__(self, shard: EdgeShard, schema: Schema) -> None:
        self.shard = shard
        self.schema = schema
        self._operations = 0
        self._unflushed = 0
        self._group: asyncio.Future[None] | None = None
        self._lazy: asyncio.TimerHandle | None = None
        self.written_since_optimize = True

    @classmethod
    def create(cls, folder: Path, schema: Schema) -> Self:
        """Make an empty shard in a folder that does not exist. Raises Fault."""
        folder.mkdir(parents=True)
        with engine():
            shard = EdgeShard.create(str(folder), schema.engine_config())
            shard.flush()
        return cls(shard, schema)

    @classmethod
    def load(cls, folder: Path, schema: Schema) -> Self:
        """Open a stored shard, replaying its log. Raises Fault."""
        with engine():
            return cls(EdgeShard.load(str(folder)), schema)

    def apply(self, changes: Iterable[Change], size: int = 0) -> int:
        """Apply checked changes in order and return the operation's number. `size`: bytes of the request.

        Raises NotFound if a change names a missing point: it is not applied, earlier ones are (as in Qdrant).
        """
        for change in changes:
            self._require(change.needs)
            with engine():
                self._change(change.operation)
        return self._written(size)

    def _change(self, operation: UpdateOperation | Decision) -> None:
        logged = operation(self.shard) if callable(operation) else operation
        if logged is not None:
            self.shard.update(logged)

    def update(self, operation: UpdateOperation) -> int:
        """Apply one operation that touches no points, such as an index. Raises Fault."""
        with engine():
            self.shard.update(operation)
        return self._written(0)

    def _written(self, size: int) -> int:
        self._operations += 1
        self._unflushed += size
        self.written_since_optimize = True
        if self._unflushed > MAX_UNFLUSHED:
            self.flush()
        elif self._lazy is None:
            self._lazy = asyncio.get_running_loop().call_later(LAZY_FLUSH_S, self._flush_lazily)
        return self._operations

    def _require(self, ids: Iterable[PointId]) -> None:
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return
        with engine():
            found = {point.id for point in self.shard.retrieve(wanted, False, False)}
        if missing := [identity for identity in wanted if identity not in found]:
            raise NotFound(f"No point with id {missing[0]} found")

    async def durable(self) -> None:
        """Return when everything applied so far survives a power cut. Raises Fault if the disk refuses."""
        if self._group is None:
            loop = asyncio.get_running_loop()
            self._group = loop.create_future()
            loop.call_later(GROUP_S, self._flush_group, self._group)
        await asyncio.shield(self._group)

    def _flush_group(self, group: asyncio.Future[None]) -> None:
        if group.done():
            return
        self._group = None
        try:
            self.flush()
        except Fault as fault:
            group.set_exception(fault)
            # those who wait are told; if they all left, nobody is left to be told
            group.exception()
        else:
            group.set_result(None)

    def _flush_lazily(self) -> None:
        self._lazy = None
        try:
            self.flush()
        except Fault:
            _log.exception("flush failed; the log keeps the writes until the next one")
            self._lazy = asyncio.get_running_loop().call_later(LAZY_FLUSH_S, self._flush_lazily)

    def flush(self) -> None:
        """Sync all applied changes to the disk and shorten the log. Raises Fault."""
        with engine():
            self.shard.flush()
        self._unflushed = 0
        if self._lazy is not None:
            self._lazy.cancel()
            self._lazy = None

    def optimize(self) -> bool:
        """Drop the storage of deleted points where they are a fifth of a segment. Blocks: 0.6 s for 20,000 points.

        Without HNSW nothing else is planned, so with nothing to drop it returns at once (0.2 ms). Raises Fault.
        """
        self.flush()
        self.written_since_optimize = False
        with engine():
            return self.shard.optimize()

    def count(self, condition: Any) -> int:
        """Return the number of points that match. Raises Fault."""
        with engine():
            return self.points() if condition is None else self.shard.count(CountRequest(True, condition))

    def points(self) -> int:
        """Return the number of points."""
        return self.shard.info().points_count

    def vector_of(self, identity: PointId, name: str) -> Any:
        """Return a stored point's vector. Raises NotFound, BadRequest if it has no such vector."""
        with engine():
            found = self.shard.retrieve([identity], False, [name])
        if not found:
            raise NotFound(f"No point with id {identity} found")
        vectors = found[0].vector
        vector = vectors.get(name) if isinstance(vectors, dict) else vectors
        if vector is None:
            raise BadRequest(f"point {identity} has no vector `{name}`")
        return vector

    def close(self) -> None:
        """Flush and close; who still waits for a flush gets this one. Raises Fault if the engine refuses to close."""
        if self._group is not None:
            self._flush_group(self._group)
        try:
            self.flush()
        except Fault:
            _log.exception("flush at the end failed; the log keeps the writes")
        with engine():
            self.shard.close()
