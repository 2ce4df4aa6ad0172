"""Connections to Redis or Valkey, and the one place that knows how it fails.

What is kept there can be computed again: a caller that gets `Transient` may go on without.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from infra.errors import Permanent, Transient
from infra.settings import RedisSettings
from schemas.dead_letters import Reason

DEPENDENCY = "redis"
CONNECT_TIMEOUT_S = 1.0
COMMAND_TIMEOUT_S = 0.5
"""A healthy server on the same network answers in under a millisecond; a question must not wait long for a cache."""

_SERVER_STATE = (
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.NoPermissionError,
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
    exceptions.TryAgainError,
)
"""Response errors that speak of the server and not of the command."""


@asynccontextmanager
async def open_redis(settings: RedisSettings) -> AsyncIterator["Redis"]:
    """Yield a client that gives bytes. Nothing is connected yet: the first command raises Transient if it is away.

    Raises ValueError if the address is malformed.
    """
    client = Redis.from_url(
        settings.url.get_secret_value(),
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=COMMAND_TIMEOUT_S,
        # One quick second try covers a connection that the server closed while it was idle.
        retry=Retry(NoBackoff(), 1),
        protocol=3,
    )
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def translating() -> AsyncIterator[None]:
    """Turn what the client and the network raise in the block into Transient or Permanent. Values are not quoted."""
    try:
        yield
    except _SERVER_STATE as error:
        raise Transient(DEPENDENCY, type(error).__name__) from error
    except (exceptions.ResponseError, exceptions.DataError) as error:
        raise Permanent(Reason.REFUSED_BY_SINK, f"redis: {type(error).__name__}") from error
    except (exceptions.RedisError, OSError, TimeoutError) as error:
        raise Transient(DEPENDENCY, type(error).__name__) from error
