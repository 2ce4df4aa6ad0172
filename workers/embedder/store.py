"""Writes an index so that any order of deliveries, and a crash at any point, ends in the newest version.

Order of one document's write, and why: 1. chunk points, replacing only older ones; 2. the head, replacing only an older
one, so that a head proves its chunks; 3. the head is read again and chunk points behind it are deleted. A version that
lost a race against a newer one removes in step 3 what it added beyond it; one that died before step 3 is delivered
again. New points cannot be conditional (`update_filter` guards existing ones only), hence step 3.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, TypeVar

from qdrant_client import AsyncQdrantClient, models

from infra.qdrant.client import translating
from infra.qdrant.points import (
    Condition,
    Head,
    Key,
    belongs_to,
    chunk_id,
    chunks_of,
    equals,
    head_id,
    head_point,
    older_than,
    read_head,
)
from infra.queueing.slots import Meters, Slots
from infra.telemetry.metrics import Metric
from schemas.documents import DocumentVersion
from workers.embedder.decide import DocumentKey, Heads, key

POINTS_PER_REQUEST = 32
"""The client writes JSON on the event loop: so many points cost it a few milliseconds."""
DOCUMENTS_PER_FILTER = 64
WRITES_AT_ONCE = 2
"""A door that writes one after the other is not filled up by one workspace: what comes waits for two requests."""
WRITING = Meters(Metric.TURN_WAITED_SECONDS, Metric.TURN_QUEUE_DEPTH, Metric.TURN_ESTIMATED_WAIT_SECONDS, ("write",))

Item = TypeVar("Item")


class IndexWriter:
    """Writes one collection. Raises Transient or Permanent as `infra.qdrant.client` decides."""

    def __init__(self, client: AsyncQdrantClient, collection: str, weights: Mapping[str, float] | None = None) -> None:
        self._client = client
        self._collection = collection
        self._writes = Slots(WRITES_AT_ONCE, WRITING, weights)

    async def heads(self, versions: Sequence[DocumentVersion]) -> dict[DocumentKey, Head]:
        """Return the heads of the versions' documents; a document never seen has none."""
        wanted = {head_id(*key(version)): key(version) for version in versions}
        if not wanted:
            return {}
        with translating():
            records = await self._client.retrieve(self._collection, ids=list(wanted), with_payload=True)
        return {wanted[str(record.id)]: read_head(record.payload or {}) for record in records}

    async def standing(self, version: DocumentVersion, positions: Sequence[int]) -> set[int]:
        """Return which of its chunks stand in the index as this version has them: an earlier try wrote them."""
        place = {chunk_id(version.workspace, version.document_id, at): at for at in positions}
        wanted = [key.value for key in (Key.VERSION, Key.START, Key.END, Key.TEXT)]
        with translating():
            records = await self._client.retrieve(self._collection, ids=list(place), with_payload=wanted)
        found = ((place[str(record.id)], record.payload or {}) for record in records)
        return {at for at, payload in found if _says(payload, version, at)}

    async def write_chunks(
        self,
        points: Sequence[models.PointStruct],
        versions: Sequence[DocumentVersion],
        wanted: Callable[[DocumentVersion], bool] = lambda _: True,
    ) -> None:
        """Insert chunk points of `versions`, or replace older ones. Returns when they can be found.

        Those of a version that is not `wanted` any more are left out from then on.
        """
        by_document = {str(version.document_id): version for version in versions}
        for part in _cut(points, POINTS_PER_REQUEST):
            document_of = [(point.payload or {})[Key.DOCUMENT] for point in part]
            named = [version for name in dict.fromkeys(document_of) if wanted(version := by_document[name])]
            kept = {str(version.document_id) for version in named}
            left = [point for point, name in zip(part, document_of, strict=True) if name in kept]
            if left:
                await self._upsert(left, [_guard(version) for version in named], named[0].workspace)

    async def write_heads(self, versions: Sequence[DocumentVersion]) -> None:
        """Insert the versions' heads, or replace older ones."""
        for part in _cut(versions, DOCUMENTS_PER_FILTER):
            guards = [_guard(version) for version in part]
            await self._upsert([head_point(version) for version in part], guards, part[0].workspace)

    async def sweep(self, heads: Heads) -> None:
        """Delete the chunk points that lie behind their document's head; behind a tombstone lie all up to it."""
        for part in _cut(list(heads.items()), DOCUMENTS_PER_FILTER):
            doomed = models.Filter(should=[_behind(document, head) for document, head in part])
            async with self._turn(part[0][0][0]):
                await self._client.delete(
                    self._collection, points_selector=models.FilterSelector(filter=doomed), wait=True
                )

    @asynccontextmanager
    async def _turn(self, workspace: str) -> AsyncIterator[None]:
        async with self._writes.slot(workspace, monotonic()):
            with translating():
                yield

    async def _upsert(
        self, points: Sequence[models.PointStruct], guards: Sequence[models.Filter], workspace: str
    ) -> None:
        async with self._turn(workspace):
            await self._client.upsert(
                self._collection,
                points=list(points),
                wait=True,
                update_filter=models.Filter(should=list(guards)),
            )


def _says(payload: Mapping[str, Any], version: DocumentVersion, position: int) -> bool:
    """Whether a point's payload is that of the version's chunk. The text too: a source may repeat a number."""
    chunk = version.chunks[position]
    held = tuple(payload.get(key) for key in (Key.VERSION, Key.START, Key.END, Key.TEXT))
    return held == (version.version, chunk.start, chunk.end, version.text_of(chunk))


def _guard(version: DocumentVersion) -> models.Filter:
    """Filter: a point of this document that this version may replace."""
    document = equals(Key.DOCUMENT, str(version.document_id))
    older: Condition = older_than(version.version)
    if version.operation == "delete":
        alive = [equals(Key.VERSION, version.version), equals(Key.DELETED, False)]
        older = models.Filter(should=[older, models.Filter(must=alive)])
    return belongs_to(version.workspace, document, older)


def _behind(document: DocumentKey, head: Head) -> models.Filter:
    workspace, identity = document
    bound = models.Range(lte=head.version) if head.deleted else models.Range(lt=head.version)
    older = models.FieldCondition(key=Key.VERSION.value, range=bound)
    return chunks_of(workspace, equals(Key.DOCUMENT, str(identity)), older)


def _cut(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[at : at + size] for at in range(0, len(items), size))
