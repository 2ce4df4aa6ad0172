"""Keeps the history of conversations.

consumes   interactions          key: workspace/conversation
           conversation.changes  key: workspace/conversation, each field takes its newest word, a deletion is the last
           feedback              key: workspace/request
publishes  receipts              one per deletion
           conversation.changes  of conversations that were idle for long
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from infra.kafka.worker import Delivery, Micro, Outgoing, Worker
from infra.postgres.pool import open_pool
from infra.settings import PostgresSettings, load
from schemas.conversations import ConversationChange
from schemas.feedback import Feedback
from schemas.interactions import Interaction
from topics.catalogue import CONVERSATION_CHANGES, FEEDBACK, INTERACTIONS, RECEIPTS
from workers.archivist import changes, store
from workers.archivist.idle import Tools, put_away_for_ever
from workers.archivist.ratings import rating_row, withdraw_late, withdraw_unkept, write_ratings
from workers.archivist.rows import conversation_row, interaction_row
from workers.archivist.settings import ArchivistSettings


@asynccontextmanager
async def open_tools() -> AsyncIterator[Tools]:
    """Open the pool."""
    async with open_pool(load(PostgresSettings)) as pool:
        yield Tools(pool, load(ArchivistSettings))


worker = Worker("archivist", tools=open_tools, publishes=(RECEIPTS, CONVERSATION_CHANGES), background=put_away_for_ever)


@worker.handles(INTERACTIONS, batch=Micro(records=128))
async def archive(deliveries: Sequence[Delivery[Interaction]], tools: Tools) -> Iterable[Outgoing]:
    """Write down each question with its answer. One that ended with tool calls alone has its answer elsewhere."""
    bodies = [each.body for each in deliveries if each.body.answer or not each.body.tool_calls]
    unkept = [each.body for each in deliveries if not each.body.answer and each.body.tool_calls]
    answers = list(map(interaction_row, bodies))
    await store.write(tools.pool, list(map(conversation_row, bodies)), answers)
    await withdraw_late(tools.pool, answers)
    await withdraw_unkept(tools.pool, [(each.workspace, each.request_id) for each in unkept])
    return ()


@worker.handles(CONVERSATION_CHANGES, batch=Micro(records=64))
async def change(deliveries: Sequence[Delivery[ConversationChange]], tools: Tools) -> Iterable[Outgoing]:
    """Apply what users want done with conversations, and confirm deletions."""
    removed = await changes.apply(tools.pool, deliveries)
    return [
        Outgoing(RECEIPTS, changes.receipt_of(delivery, rows), cause=delivery)
        for delivery, rows in zip(deliveries, removed, strict=True)
        if delivery.body.operation == "delete"
    ]


@worker.handles(FEEDBACK, batch=Micro(records=128))
async def rate(deliveries: Sequence[Delivery[Feedback]], tools: Tools) -> Iterable[Outgoing]:
    """Keep the last rating of each answer."""
    await write_ratings(tools.pool, [rating_row(delivery.body) for delivery in deliveries])
    return ()
