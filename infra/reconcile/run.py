"""One reconcile run: every workspace, every sink, in pages of bounded size."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from infra.reconcile.expected import details, pages, unknown
from infra.reconcile.graph import GraphHeld
from infra.reconcile.repair import Damaged
from infra.reconcile.states import Finding, Held, Known, Problem, Sink, compare
from infra.reconcile.vectors import PAGE, VectorsHeld

if TYPE_CHECKING:
    import asyncpg

MOST_DAMAGED = 50_000
"""Documents of one run: about 60 MB. A second run goes on; an empty index is filled by a replay, not by this."""


@dataclass
class Comparison:
    """Compares one installation. `compared` counts documents; `full` says that the run stopped at `MOST_DAMAGED`."""

    pool: "asyncpg.Pool[asyncpg.Record]"
    vectors: VectorsHeld
    graph: GraphHeld
    compared: int = 0
    full: bool = False
    damaged: dict[UUID, Damaged] = field(default_factory=dict)

    async def over(self, workspace: str, source: str | None) -> AsyncIterator[int]:
        """Compare a workspace; yield after each page how many documents were compared. Raises Transient."""
        async for page in pages(self.pool, workspace, source, PAGE):
            await self._compare(workspace, page)
            self.compared += len(page)
            yield len(page)
        if source is None:
            # An extra document says nothing of its source that could be trusted.
            async for ids in self._in_sinks(workspace):
                await self._extra(workspace, ids)

    async def _in_sinks(self, workspace: str) -> AsyncIterator[list[UUID]]:
        async for ids in self.vectors.documents(workspace):
            yield ids
        async for ids in self.graph.documents(workspace, PAGE):
            yield ids

    async def _compare(self, workspace: str, page: list[Known]) -> None:
        ids = [known.document_id for known in page]
        vectors = await self.vectors.read(workspace, ids)
        graph = await self.graph.read(workspace, ids)
        for known in page:
            found = list(compare(known, vectors.get(known.document_id), graph.get(known.document_id)))
            if found:
                self._note(Damaged(known, found))

    async def _extra(self, workspace: str, ids: list[UUID]) -> None:
        strange = await unknown(self.pool, workspace, ids)
        if not strange:
            return
        held = {
            Sink.VECTORS: await self.vectors.read(workspace, strange),
            Sink.GRAPH: await self.graph.read(workspace, strange),
        }
        for known in await details(self.pool, workspace, strange):
            found = list(_extra_in(known, held))
            if found and known.document_id not in self.damaged:
                self._note(Damaged(known, found))

    def _note(self, damaged: Damaged) -> None:
        if len(self.damaged) >= MOST_DAMAGED:
            self.full = True
        else:
            self.damaged[damaged.known.document_id] = damaged


def _extra_in(known: Known, held: Mapping[Sink, Mapping[UUID, Held]]) -> Iterator[Finding]:
    for sink, documents in held.items():
        state = documents.get(known.document_id)
        if state is not None:
            detail = f"version {state.version}{', deleted' if state.deleted else ''}"
            yield Finding(known.workspace, known.document_id, sink, Problem.EXTRA, detail, state.version)
