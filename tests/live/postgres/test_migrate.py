"""Migrations on a database of their own."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from infra.errors import Transient
from infra.postgres.migrate import upgrade
from tests.live.postgres.databases import database_of_its_own


@pytest.fixture
async def empty_database(postgres: dict[str, str]) -> AsyncIterator[str]:
    """DSN of a database without tables."""
    async with database_of_its_own(postgres["POSTGRES_DSN"]) as dsn:
        yield dsn


async def tables(dsn: str) -> set[str]:
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch("select tablename from pg_tables where schemaname = 'public'")
    await connection.close()
    return {row["tablename"] for row in rows}


async def test_callers_at_once_migrate_once(empty_database: str) -> None:
    await asyncio.gather(*(upgrade(empty_database) for _ in range(4)))
    assert {"workspaces", "sources", "events", "receipts", "documents", "interactions"} <= await tables(empty_database)
    await upgrade(empty_database)


async def test_a_migration_that_fails_leaves_nothing(empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)
    await connection.execute("create table interactions (in_the_way int)")
    with pytest.raises(Exception, match="interactions"):
        await upgrade(empty_database)
    assert await tables(empty_database) == {"interactions"}
    await connection.execute("drop table interactions")
    await connection.close()
    await upgrade(empty_database)


async def test_a_server_that_is_away_or_refuses_us_may_come_back(postgres: dict[str, str]) -> None:
    address = urlsplit(postgres["POSTGRES_DSN"])
    closed = address._replace(netloc=f"{address.username}:{address.password}@127.0.0.1:1")
    with pytest.raises(Transient):
        await upgrade(urlunsplit(closed))
    stranger = address._replace(netloc=f"{address.username}:wrong@{address.hostname}:{address.port}")
    with pytest.raises(Transient) as refused:
        await upgrade(urlunsplit(stranger))
    assert "wrong" not in str(refused.value)
