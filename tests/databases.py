"""A migrated database of a test's own on the real server, so that one test's rows are not another's."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from infra.postgres.migrate import upgrade
from infra.postgres.pool import open_pool
from infra.settings import PostgresSettings


@asynccontextmanager
async def fresh_database(environment: Mapping[str, str]) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    """Yield a pool of a new, migrated database on the server of `POSTGRES_DSN`, dropped at the end."""
    administration = environment["POSTGRES_DSN"]
    name = f"test_{uuid4().hex}"
    dsn = urlunsplit(urlsplit(administration)._replace(path=f"/{name}"))
    await _execute(administration, f"create database {name}")
    try:
        await upgrade(dsn)
        async with open_pool(PostgresSettings.model_validate({"POSTGRES_DSN": dsn})) as pool:
            yield pool
    finally:
        await _execute(administration, f"drop database {name} with (force)")


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
