"""Connections to Postgres, and the one place that knows how it fails."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import asyncpg
import orjson

from infra.errors import Permanent, Transient
from infra.settings import PostgresSettings
from schemas.dead_letters import Reason

Given = ParamSpec("Given")
Result = TypeVar("Result")

DEPENDENCY = "postgres"
CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 5.0
ACQUIRE_TIMEOUT_S = 10.0
"""asyncpg itself waits for a free connection for ever: requests behind a lock would queue without end."""

_PERMANENT_CLASSES = frozenset({"22", "23", "42", "0A"})
"""SQLSTATE classes that stay wrong however often they are tried: data, constraint, statement, unsupported feature.
https://www.postgresql.org/docs/current/errcodes-appendix.html"""

_TRANSIENT_CODES = frozenset({"42P01", "42703", "42501"})
"""Undefined table or column: the migration of this version has not run yet, as in the middle of a rolling update.
Insufficient privilege: the operator has to grant it, the record is not at fault."""

_JSONB_VERSION = b"\x01"
"""First byte of a jsonb value in the binary protocol (`jsonb_send` in PostgreSQL's jsonb.c)."""


def _encode_jsonb(value: Any) -> bytes:
    return _JSONB_VERSION + orjson.dumps(value)


def _decode_jsonb(data: bytes) -> Any:
    return orjson.loads(data[1:])


async def _prepare(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_encode_jsonb, decoder=_decode_jsonb, format="binary"
    )


class _BoundedPool(asyncpg.Pool):
    """Gives up on a free connection after `ACQUIRE_TIMEOUT_S`, also in its short forms (`fetch`, `execute`)."""

    def acquire(self, *, timeout: float | None = None) -> Any:
        return super().acquire(timeout=ACQUIRE_TIMEOUT_S if timeout is None else timeout)


@asynccontextmanager
async def open_pool(settings: PostgresSettings) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    """Yield a pool whose `jsonb` columns take and give Python values.

    Nothing is connected yet: a process may start while Postgres is away, and its first statement raises Transient.
    """
    pool = _BoundedPool(
        settings.dsn.get_secret_value(),
        min_size=0,
        max_size=settings.pool_size,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        init=_prepare,
        # The defaults of asyncpg.create_pool, which makes its own class only.
        max_queries=50_000,
        max_inactive_connection_lifetime=300.0,
        loop=None,
        connection_class=asyncpg.Connection,
        record_class=asyncpg.Record,
    )
    async with translating():
        await pool
    try:
        yield pool
    finally:
        await _close(pool)


async def _close(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await pool.close()
    except TimeoutError:
        pool.terminate()


@asynccontextmanager
async def translating() -> AsyncIterator[None]:
    """Turn what asyncpg and the network raise in the block into Transient or Permanent."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise verdict(error) from error
    except UnicodeEncodeError as error:
        raise Permanent(Reason.REFUSED_BY_SINK, "postgres: text holds a lone surrogate") from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError) as error:
        raise Transient(DEPENDENCY, f"{type(error).__name__}: {error}") from error


def translated(call: Callable[Given, Awaitable[Result]]) -> Callable[Given, Awaitable[Result]]:
    """Decorate an async function so that it raises only Transient or Permanent for what Postgres does."""

    @wraps(call)
    async def wrapper(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        async with translating():
            return await call(*args, **kwargs)

    return wrapper


def verdict(error: asyncpg.PostgresError) -> Transient | Permanent:
    """Decide by SQLSTATE. Names the columns and constraints that the server names, never the values."""
    state = error.sqlstate or ""
    detail = f"{type(error).__name__} {state}: {_message(error)}"
    if state not in _TRANSIENT_CODES and state[:2] in _PERMANENT_CLASSES:
        return Permanent(Reason.REFUSED_BY_SINK, f"postgres: {detail}")
    return Transient(DEPENDENCY, detail)


def _message(error: asyncpg.PostgresError) -> str:
    """Return the primary message: DETAIL quotes row values, and so does asyncpg's own message after its first colon."""
    message = str(error.args[0]) if error.args else ""
    return message.partition(":")[0][:300]
