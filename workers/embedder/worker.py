"""Embeds the chunks of each document version into one index.

consumes   documents   key: workspace/document, newest version wins
publishes  receipts    one per document version, sink `embedder/<index id>`
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import groupby

from infra.kafka.room import Limits
from infra.kafka.worker import Delivery, Micro, Outgoing, Worker
from infra.models.opening import open_encoder
from infra.models.settings import EncoderSettings
from infra.postgres.indexes import Index, register
from infra.postgres.pool import open_pool
from infra.qdrant.client import open_client
from infra.qdrant.collections import ensure_collection
from infra.queueing.shares import Deletions
from infra.settings import PostgresSettings, QdrantSettings, load
from schemas.documents import DocumentVersion
from schemas.event import now
from schemas.receipts import Receipt
from topics.catalogue import DOCUMENTS, RECEIPTS
from workers.embedder.asked import Asked
from workers.embedder.decide import Heads, Verdict, key, newest, state, verdict
from workers.embedder.settings import EmbedderSettings
from workers.embedder.store import IndexWriter
from workers.embedder.turns import Turns
from workers.embedder.write import Writing

BATCH = Micro(records=16, bytes=128 * 1024, deletions=Deletions.BESIDE)
"""About 130 chunks: 5 s of encoding on two cores, so that a rebalance or a stop need not wait long."""
HELD = Limits(records=16_000, bytes=48 * 1024 * 1024)
"""A flood of so many documents is read past, to what the other workspaces sent behind it."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The turns at the encoder, the index that is written, and what is being written."""

    index_id: str
    turns: Turns
    index: IndexWriter
    asked: Asked = field(default_factory=Asked)


@asynccontextmanager
async def open_tools() -> AsyncIterator[Tools]:
    """Open encoder and index, registering the index at its first start. Raises IndexMismatchError, Transient."""
    settings = load(EmbedderSettings)
    async with open_encoder(load(EncoderSettings)) as encoder, open_client(load(QdrantSettings)) as client:
        async with open_pool(load(PostgresSettings)) as pool:
            await register(pool, Index(settings.index_id, settings.collection, encoder.model_id, encoder.dimension))
        await ensure_collection(client, settings.collection, encoder.dimension)
        turns = Turns(encoder, settings.encoded_at_once, settings.weights)
        yield Tools(settings.index_id, turns, IndexWriter(client, settings.collection, settings.weights))


def group() -> str:
    """Return the consumer group: one per index, so that a second index reads the log from its start."""
    return f"millrace.embedder.{load(EmbedderSettings).index_id}"


worker = Worker("embedder", tools=open_tools, publishes=(RECEIPTS,), group=group, limits=HELD)


@worker.handles(DOCUMENTS, batch=BATCH)
async def embed(deliveries: Sequence[Delivery[DocumentVersion]], tools: Tools) -> Iterable[Outgoing]:
    """Bring the index to the newest version of each document and say what became of every one."""
    versions = newest(delivery.body for delivery in deliveries)
    heads = await tools.index.heads(versions)
    fresh = [version for version in versions if verdict(version, heads.get(key(version))) is Verdict.FRESH]
    if fresh:
        with tools.asked.working(fresh):
            # A turn at the encoder is one workspace's.
            for _, of_one in groupby(fresh, key=lambda version: version.workspace):
                await Writing(list(of_one), tools.turns, tools.index, tools.asked).run()
        heads = await tools.index.heads(versions)
    # Also for what is stale or held: a crash or a zombie may have left points behind the head.
    await tools.index.sweep(heads)
    sink = f"embedder/{tools.index_id}"
    return [
        Outgoing(RECEIPTS, receipt(delivery.body, heads, sink), cause=delivery, part=tools.index_id)
        for delivery in deliveries
    ]


def receipt(version: DocumentVersion, heads: Heads, sink: str) -> Receipt:
    """Return what became of `version`, given the heads after the batch."""
    applied = heads.get(key(version)) == state(version)
    return Receipt(
        workspace=version.workspace,
        sink=sink,
        event_id=version.event_id,
        source=version.source,
        outcome="applied" if applied else "stale",
        document_id=version.document_id,
        version=version.version,
        operation=version.operation,
        parts=len(version.chunks) if applied else 0,
        at=now(),
    )
