"""Brings the schema of a database up to this version of the code.

    python -m infra.postgres.migrate        reads POSTGRES_DSN

Several processes may call `upgrade` at once: an advisory lock lets one work, the others find nothing left to do.
"""

import asyncio
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from infra.errors import Transient
from infra.postgres.pool import CONNECT_TIMEOUT_S, DEPENDENCY, translating, verdict
from infra.settings import PostgresSettings, load

SCRIPTS = Path(__file__).parent / "migrations"

_LOCK = 0x6D72_6D69_6772_0001
"""Advisory lock of this database's migrations: any constant that nothing else in the database locks."""


async def upgrade(dsn: str) -> None:
    """Run every migration that `dsn` has not seen, all in one transaction.

    Raises Transient if the database cannot be reached, Permanent if it refuses a migration.
    """

    async def connect() -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with translating(), engine.begin() as connection:
            await connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            await connection.run_sync(_upgrade)
    except DBAPIError as error:
        cause = error.orig.__cause__ if error.orig else None
        if isinstance(cause, asyncpg.PostgresError):
            raise verdict(cause) from error
        raise Transient(DEPENDENCY, str(error.orig)) from error
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def main() -> None:
    """Upgrade the database that POSTGRES_DSN names."""
    asyncio.run(upgrade(load(PostgresSettings).dsn.get_secret_value()))


if __name__ == "__main__":
    main()
