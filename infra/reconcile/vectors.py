"""What the live index holds of documents: heads, and how many chunks of the right version."""

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from qdrant_client import AsyncQdrantClient, models

from infra.qdrant.client import translating
from infra.qdrant.points import Key, Part, belongs_to, chunks_of, equals, head_id, one_of, read_head
from infra.reconcile.states import Held

PAGE = 200


class VectorsHeld:
    """Reads one collection. Raises Transient."""

    def __init__(self, client: AsyncQdrantClient, collection: str) -> None:
        self._client = client
        self._collection = collection

    async def read(self, workspace: str, documents: Sequence[UUID]) -> dict[UUID, Held]:
        """Return what is held of at most `PAGE` documents; one without a head and without chunks is left out."""
        heads = {head_id(workspace, document): document for document in documents}
        with translating():
            found = await self._client.retrieve(self._collection, ids=list(heads), with_payload=True)
        held = {heads[str(record.id)]: read_head(record.payload or {}) for record in found}
        every = await self._count(workspace, [equals_any(documents)])
        if not held:
            right: dict[UUID, int] = {}
        else:
            exact = [
                models.Filter(must=[equals(Key.DOCUMENT, str(document)), equals(Key.VERSION, head.version)])
                for document, head in held.items()
            ]
            right = await self._count(workspace, [models.Filter(should=list(exact))])
        states = {
            document: Held(head.version, head.deleted, right.get(document, 0), every.get(document, 0))
            for document, head in held.items()
        }
        # Chunks without a head can be found by searches: version 0 is older than any, so a repair replaces them.
        orphans = {document: Held(0, False, 0, count) for document, count in every.items() if document not in states}
        return states | orphans

    async def documents(self, workspace: str) -> AsyncIterator[list[UUID]]:
        """Yield every document that has a head or a first chunk in the index, a page at a time, some of them twice."""
        wanted = belongs_to(
            workspace, models.Filter(should=[equals(Key.PART, Part.HEAD.value), equals(Key.ORDINAL, 0)])
        )
        offset: models.ExtendedPointId | None = None
        while True:
            with translating():
                points, offset = await self._client.scroll(
                    self._collection, scroll_filter=wanted, limit=PAGE, offset=offset, with_payload=[Key.DOCUMENT.value]
                )
            if points:
                yield sorted({UUID(str((point.payload or {})[Key.DOCUMENT])) for point in points})
            if offset is None:
                return

    async def forget_head(self, workspace: str, document: UUID, version: int) -> None:
        """Delete a head that says more than there is, if it still is of `version`: the gate then lets it be written
        again. A newer head, or a tombstone, stays.
        """
        doomed = belongs_to(
            workspace,
            equals(Key.PART, Part.HEAD.value),
            equals(Key.DOCUMENT, str(document)),
            equals(Key.VERSION, version),
            equals(Key.DELETED, False),
        )
        with translating():
            await self._client.delete(self._collection, points_selector=models.FilterSelector(filter=doomed), wait=True)

    async def _count(self, workspace: str, conditions: Sequence[models.Condition]) -> dict[UUID, int]:
        with translating():
            answer = await self._client.facet(
                self._collection,
                key=Key.DOCUMENT.value,
                facet_filter=chunks_of(workspace, *conditions),  # type: ignore[arg-type]
                limit=PAGE,
                exact=True,
            )
        return {UUID(str(hit.value)): hit.count for hit in answer.hits}


def equals_any(documents: Sequence[UUID]) -> models.FieldCondition:
    """Condition: the point belongs to one of `documents`."""
    return one_of(Key.DOCUMENT, [str(document) for document in documents])
