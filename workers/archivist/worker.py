"""Keeps the history of conversations.

consumes   interactions   key: workspace/conversation
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from infra.kafka.worker import Delivery, Micro, Outgoing, Worker
from infra.postgres.pool import open_pool
from infra.settings import PostgresSettings, load
from schemas.chat import Interaction
from topics.catalogue import INTERACTIONS
from workers.archivist import store
from workers.archivist.rows import conversation_row, interaction_row


@asynccontextmanager
async def open_tools() -> AsyncIterator[store.Pool]:
    """Open the pool."""
    async with open_pool(load(PostgresSettings)) as pool:
        yield pool


worker = Worker("archivist", tools=open_tools)


@worker.handles(INTERACTIONS, batch=Micro(records=128))
async def archive(deliveries: Sequence[Delivery[Interaction]], pool: store.Pool) -> Iterable[Outgoing]:
    """Write down each question with its answer. One that ended with tool calls alone has its answer elsewhere."""
    bodies = [each.body for each in deliveries if each.body.answer or not each.body.tool_calls]
    await store.write(pool, list(map(conversation_row, bodies)), list(map(interaction_row, bodies)))
    return ()
