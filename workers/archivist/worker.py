"""Keeps the history of conversations.

consumes   interactions   key: workspace/conversation
consumes   feedback       key: workspace/request
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from infra.kafka.worker import Delivery, Micro, Outgoing, Worker
from infra.postgres.pool import open_pool
from infra.settings import PostgresSettings, load
from schemas.chat import Interaction
from schemas.feedback import Feedback
from topics.catalogue import FEEDBACK, INTERACTIONS
from workers.archivist import store
from workers.archivist.ratings import rating_row, write_ratings
from workers.archivist.rows import conversation_row, interaction_row


@asynccontextmanager
async def open_tools() -> AsyncIterator[store.Pool]:
    """Open the pool."""
    async with open_pool(load(PostgresSettings)) as pool:
        yield pool


worker = Worker("archivist", tools=open_tools)


@worker.handles(INTERACTIONS, batch=Micro(records=128))
async def archive(deliveries: Sequence[Delivery[Interaction]], pool: store.Pool) -> Iterable[Outgoing]:
    """Write down each question with its answer."""
    bodies = [delivery.body for delivery in deliveries]
    await store.write(pool, list(map(conversation_row, bodies)), list(map(interaction_row, bodies)))
    return ()


@worker.handles(FEEDBACK, batch=Micro(records=128))
async def rate(deliveries: Sequence[Delivery[Feedback]], pool: store.Pool) -> Iterable[Outgoing]:
    """Keep the last rating of each answer."""
    await write_ratings(pool, [rating_row(delivery.body) for delivery in deliveries])
    return ()
