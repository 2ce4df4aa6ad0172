"""Keeps, per document, how many words its newest version has.

consumes   documents   key: workspace/document, newest version wins
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import asyncpg

from infra.kafka.worker import Delivery, Micro, Outgoing, Worker
from infra.postgres.pool import open_pool, translating
from infra.settings import PostgresSettings, load
from schemas.documents import DocumentVersion
from topics.catalogue import DOCUMENTS

TABLE = """create table if not exists word_counts (
    workspace text not null, document_id uuid not null, version bigint not null, words integer not null,
    primary key (workspace, document_id))"""

WRITE = """insert into word_counts (workspace, document_id, version, words) values ($1, $2, $3, $4)
    on conflict (workspace, document_id) do update set version = excluded.version, words = excluded.words
    where word_counts.version < excluded.version"""


@asynccontextmanager
async def open_tools() -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    """Open what the handler needs; it is closed when the worker stops."""
    async with open_pool(load(PostgresSettings)) as pool:
        async with translating():
            await pool.execute(TABLE)
        yield pool


worker = Worker("word_counter", tools=open_tools)


def words_in(version: DocumentVersion) -> int:
    """Count the words of a version; a deletion has none."""
    return len(version.text.split())


@worker.handles(DOCUMENTS, batch=Micro(records=64))
async def count(
    deliveries: Sequence[Delivery[DocumentVersion]], pool: "asyncpg.Pool[asyncpg.Record]"
) -> Iterable[Outgoing]:
    """Write the counts. A redelivered or late older version meets a row that is not older, and changes nothing."""
    versions = [delivery.body for delivery in deliveries]
    rows = [(version.workspace, version.document_id, version.version, words_in(version)) for version in versions]
    async with translating():
        await pool.executemany(WRITE, rows)
    return ()
