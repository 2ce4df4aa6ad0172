"""Keeps account: where is each event, each document version, each dead letter. Derived from the log, rebuilt by replay.

consumes   raw.events    what was accepted
           documents     the present state of each document, text included
           receipts      what the normalizer and each sink did
           dead.letters  what was given up on
           letter.marks  what was done about it
publishes  receipts      sink `ledger`: the text of a deleted document is gone from table `documents`
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from infra.kafka.room import Limits
from infra.kafka.worker import Delivery, Micro, Outgoing, Worker
from infra.postgres.pool import open_pool
from infra.settings import PostgresSettings, load
from infra.telemetry.metrics import Metric, observe
from schemas.dead_letters import DeadLetter, LetterMark
from schemas.documents import DocumentVersion
from schemas.raw import RawEvent
from schemas.receipts import Receipt
from topics.catalogue import DEAD_LETTERS, DOCUMENTS, LETTER_MARKS, RAW_EVENTS, RECEIPTS
from workers.ledger import store
from workers.ledger.rows import (
    conversation_receipt_row,
    deletion_receipt,
    document_row,
    event_row,
    letter_row,
    mark_row,
    normalised_row,
    present,
    receipt_row,
)

HELD = Limits(records=500, bytes=2 * 1024 * 1024)
"""Two batches of the largest topic. A ledger needs little memory when it is idle: with the usual room, a million
waiting events took it to 1.3 times that."""


@asynccontextmanager
async def open_tools() -> AsyncIterator[store.Pool]:
    """Open the pool."""
    async with open_pool(load(PostgresSettings)) as pool:
        yield pool


worker = Worker("ledger", tools=open_tools, publishes=(RECEIPTS,), limits=HELD)


@worker.handles(RAW_EVENTS, batch=Micro(records=256))
async def record_events(deliveries: Sequence[Delivery[RawEvent]], pool: store.Pool) -> Iterable[Outgoing]:
    """Write down what was accepted."""
    await store.write_events(pool, [event_row(delivery) for delivery in deliveries])
    return ()


@worker.handles(DOCUMENTS, batch=Micro(records=128))
async def record_documents(deliveries: Sequence[Delivery[DocumentVersion]], pool: store.Pool) -> Iterable[Outgoing]:
    """Write down what each document now is, and confirm deletions."""
    await store.write_documents(pool, [document_row(delivery.body) for delivery in deliveries])
    # Also where a newer version stands by now: that row holds no text of this one either.
    return [
        Outgoing(RECEIPTS, deletion_receipt(delivery.body), cause=delivery)
        for delivery in deliveries
        if delivery.body.operation == "delete"
    ]


@worker.handles(RECEIPTS, batch=Micro(records=512))
async def record_receipts(deliveries: Sequence[Delivery[Receipt]], pool: store.Pool) -> Iterable[Outgoing]:
    """Write down what was done, and measure how long it took until a text could be found."""
    bodies = [delivery.body for delivery in deliveries]
    told = store.Told(
        present(map(normalised_row, bodies)),
        present(map(receipt_row, bodies)),
        present(map(conversation_receipt_row, bodies)),
    )
    for searchable in await store.write_receipts(pool, told):
        observe(Metric.SEARCHABLE_SECONDS, searchable.seconds, searchable.connector)
    return ()


@worker.handles(DEAD_LETTERS, batch=Micro(records=256))
async def record_letters(deliveries: Sequence[Delivery[DeadLetter]], pool: store.Pool) -> Iterable[Outgoing]:
    """Write down what was given up on."""
    await store.write_letters(pool, [letter_row(delivery) for delivery in deliveries])
    return ()


@worker.handles(LETTER_MARKS, batch=Micro(records=256))
async def record_marks(deliveries: Sequence[Delivery[LetterMark]], pool: store.Pool) -> Iterable[Outgoing]:
    """Write down what was done about dead letters."""
    await store.write_marks(pool, [mark_row(delivery.body) for delivery in deliveries])
    return ()
