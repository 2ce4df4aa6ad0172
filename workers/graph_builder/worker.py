"""Keeps the graph of each workspace: who and what its documents name, and what they state of each other.

consumes   documents   key: workspace/document, newest version wins
publishes  receipts    one per document version, sink `graph_builder`
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from infra.kafka.worker import Delivery, Micro, Outgoing, Worker
from infra.neo4j.client import GraphDriver, open_driver
from infra.neo4j.schema import document_node_id, ensure
from infra.settings import Neo4jSettings, load
from schemas.documents import DocumentVersion
from schemas.event import now
from schemas.receipts import Receipt
from topics.catalogue import DOCUMENTS, RECEIPTS
from workers.graph_builder import store
from workers.graph_builder.gazetteers import Gazetteers
from workers.graph_builder.mention import Gazetteer
from workers.graph_builder.plan import DocumentPlan, newest, plan
from workers.graph_builder.settings import GraphBuilderSettings

SINK = "graph_builder"


@dataclass
class Tools:
    """The graph, and the names to look for."""

    graph: GraphDriver
    gazetteers: Gazetteers
    _prepared: bool = False
    _preparing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def prepare(self) -> None:
        """Make sure, once, that the constraints stand. Raises Transient.

        One partition at a time: several that create the same constraint at once wait for each other in circles.
        """
        async with self._preparing:
            if not self._prepared:
                await ensure(self.graph)
                self._prepared = True


@asynccontextmanager
async def open_tools() -> AsyncIterator[Tools]:
    """Open the driver. Connects on first use, so that a worker starts while Neo4j is away."""
    async with open_driver(load(Neo4jSettings)) as graph:
        yield Tools(graph, Gazetteers(graph, load(GraphBuilderSettings)))


worker = Worker(SINK, tools=open_tools, publishes=(RECEIPTS,))


@worker.handles(DOCUMENTS, batch=Micro(records=64))
async def build(deliveries: Sequence[Delivery[DocumentVersion]], tools: Tools) -> Iterable[Outgoing]:
    """Write the newest version of each document and say what became of every one."""
    await tools.prepare()
    versions = newest([delivery.body for delivery in deliveries])
    names = {workspace: await tools.gazetteers.of(workspace) for workspace in {v.workspace for v in versions}}
    plans = await asyncio.to_thread(_plans, versions, names)
    stale = await store.apply(tools.graph, plans)
    written = {plan.node: plan for plan in plans if plan.node not in stale}
    return [Outgoing(RECEIPTS, receipt(delivery.body, written), cause=delivery) for delivery in deliveries]


def receipt(version: DocumentVersion, written: dict[str, DocumentPlan]) -> Receipt:
    """Return what became of `version`, given the plans that were written, by node."""
    held = written.get(document_node_id(version.workspace, version.document_id))
    applied = held is not None and held.rank == (version.version, version.operation == "delete")
    return Receipt(
        workspace=version.workspace,
        sink=SINK,
        event_id=version.event_id,
        source=version.source,
        outcome="applied" if applied else "stale",
        document_id=version.document_id,
        version=version.version,
        operation=version.operation,
        parts=len(held.relations) if held and applied else 0,
        at=now(),
    )


def _plans(versions: Sequence[DocumentVersion], names: dict[str, Gazetteer]) -> list[DocumentPlan]:
    return [plan(version, names[version.workspace].find(version.text)) for version in versions]
