"""Connections to Neo4j, and the one place that knows how it fails."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import stamina

from infra.errors import Permanent, Transient
from infra.settings import Neo4jSettings
from schemas.dead_letters import Reason

if TYPE_CHECKING:
    from neo4j import AsyncDriver, AsyncTransaction
    from neo4j.exceptions import Neo4jError

Result = TypeVar("Result")
Row = dict[str, Any]

DEPENDENCY = "neo4j"
CONNECT_TIMEOUT_S = 5.0
ACQUIRE_TIMEOUT_S = 20.0
POOL_SIZE = 32

CONTENTION_ATTEMPTS = 8
CONTENTION_WAIT_S = 0.02
CONTENTION_WAIT_MAX_S = 0.5

_CONTENTION = frozenset(
    {
        "Neo.TransientError.Transaction.DeadlockDetected",
        "Neo.TransientError.Transaction.LockAcquisitionTimeout",
        "Neo.TransientError.Transaction.LockClientStopped",
        # A node that was read before another transaction deleted it.
        "Neo.ClientError.Statement.EntityNotFound",
    }
)
_REFUSED = frozenset(
    {
        "Neo.ClientError.Schema.ConstraintValidationFailed",
        "Neo.ClientError.Schema.ConstraintViolation",
        "Neo.ClientError.Statement.TypeError",
        "Neo.ClientError.Statement.ArgumentError",
        "Neo.ClientError.Statement.ArithmeticError",
    }
)
"""What the record's own values cause. https://neo4j.com/docs/status-codes/current/errors/all-errors/"""


class Contention(Transient):
    """Two transactions wanted the same nodes: this one was rolled back and passes when it is run again."""


@dataclass(frozen=True, slots=True)
class GraphDriver:
    """A pool of Bolt connections and the database that every statement runs in."""

    driver: "AsyncDriver"
    database: str

    async def read(self, statement: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Run one reading statement and return its rows. Raises Transient or Permanent."""
        from neo4j import READ_ACCESS

        with translating():
            async with self.driver.session(database=self.database, default_access_mode=READ_ACCESS) as session:
                result = await session.run(statement, dict(parameters))
                return await result.data()

    async def write(self, work: Callable[["AsyncTransaction"], Awaitable[Result]]) -> Result:
        """Run `work` in one transaction and commit it, again after contention: `work` must not keep state.

        Raises Transient (Contention when the attempts are used up) or Permanent; nothing is written then, except
        where the connection broke during the commit: the caller's next try must give the same effect.
        """
        async for attempt in stamina.retry_context(
            on=Contention,
            attempts=CONTENTION_ATTEMPTS,
            timeout=None,
            wait_initial=CONTENTION_WAIT_S,
            wait_max=CONTENTION_WAIT_MAX_S,
            wait_jitter=CONTENTION_WAIT_S,
        ):
            with attempt:
                return await self._once(work)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _once(self, work: Callable[["AsyncTransaction"], Awaitable[Result]]) -> Result:
        with translating():
            async with (
                self.driver.session(database=self.database) as session,
                await session.begin_transaction() as transaction,
            ):
                result = await work(transaction)
                await transaction.commit()
                return result

    async def ping(self) -> None:
        """Run a real statement. Raises Transient."""
        await self.read("RETURN 1 AS one", {})


@asynccontextmanager
async def open_driver(settings: Neo4jSettings) -> AsyncIterator[GraphDriver]:
    """Yield a driver. Nothing is connected yet: a process may start while Neo4j is away."""
    # Importing it takes up to a second: not on the loop that other workers' heartbeats run on.
    await asyncio.to_thread(import_module, "neo4j")
    from neo4j import AsyncGraphDatabase, NotificationMinimumSeverity

    driver = AsyncGraphDatabase.driver(
        settings.uri,
        auth=(settings.user, settings.password.get_secret_value()),
        connection_timeout=CONNECT_TIMEOUT_S,
        connection_acquisition_timeout=ACQUIRE_TIMEOUT_S,
        max_connection_pool_size=POOL_SIZE,
        # An empty graph warns about every label that it has not seen; these are hints to a person at a prompt.
        notifications_min_severity=NotificationMinimumSeverity.OFF,
        telemetry_disabled=True,
    )
    try:
        yield GraphDriver(driver, settings.database)
    finally:
        await driver.close()


@contextmanager
def translating() -> Iterator[None]:
    """Turn what the driver and the network raise in the block into Transient, Contention or Permanent.

    A statement that Neo4j cannot read (a fault of ours) passes through unchanged: it is no verdict on the record.
    """
    from neo4j.exceptions import DriverError, Neo4jError

    try:
        yield
    except Neo4jError as error:
        translation = verdict(error)
        if translation is None:
            raise
        raise translation from error
    except UnicodeEncodeError as error:
        raise Permanent(Reason.REFUSED_BY_SINK, "neo4j: text holds a lone surrogate") from error
    except (DriverError, OSError, TimeoutError) as error:
        raise Transient(DEPENDENCY, f"{type(error).__name__}: {error}") from error


def verdict(error: "Neo4jError") -> Transient | Permanent | None:
    """Decide by status code. The server's message quotes property values, so only the code is passed on."""
    from neo4j.exceptions import CypherSyntaxError

    code = error.code or type(error).__name__
    if code in _CONTENTION:
        return Contention(DEPENDENCY, code)
    if code in _REFUSED:
        return Permanent(Reason.REFUSED_BY_SINK, f"neo4j: {code}")
    if isinstance(error, CypherSyntaxError) or code.startswith("Neo.ClientError.Statement."):
        return None
    # What is left is the server's state or the operator's: memory, leadership, disk, wrong password, missing rights.
    return Transient(DEPENDENCY, code)
