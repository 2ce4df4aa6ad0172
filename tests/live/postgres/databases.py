"""Databases of a test's own, so that what one test registers as live is not live for another."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg


@asynccontextmanager
async def database_of_its_own(dsn: str) -> AsyncIterator[str]:
    """Create an empty database beside that of `dsn`, yield its DSN, and drop it."""
    name = f"test_{uuid4().hex}"
    admin = await asyncpg.connect(dsn)
    await admin.execute(f"create database {name}")
    try:
        yield urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))
    finally:
        await admin.execute(f"drop database {name} with (force)")
        await admin.close()
