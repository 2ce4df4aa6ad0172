"""The verdict on each kind of SQLSTATE, without a server."""

import asyncpg
import pytest

from infra.errors import Permanent, Transient
from infra.postgres.pool import translating, verdict


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (asyncpg.UniqueViolationError("duplicate key"), Permanent),
        (asyncpg.NumericValueOutOfRangeError("too large"), Permanent),
        (asyncpg.PostgresSyntaxError("at or near"), Permanent),
        (asyncpg.UndefinedTableError("no table"), Transient),
        (asyncpg.UndefinedColumnError("no column"), Transient),
        (asyncpg.InsufficientPrivilegeError("no right"), Transient),
        (asyncpg.DeadlockDetectedError("deadlock"), Transient),
        (asyncpg.SerializationError("again"), Transient),
        (asyncpg.TooManyConnectionsError("full"), Transient),
        (asyncpg.DiskFullError("full"), Transient),
        (asyncpg.CannotConnectNowError("starting"), Transient),
        (asyncpg.InvalidPasswordError("no"), Transient),
    ],
)
def test_each_state_has_its_outcome(error: asyncpg.PostgresError, outcome: type[Exception]) -> None:
    assert isinstance(verdict(error), outcome)


def test_values_are_not_repeated() -> None:
    error = asyncpg.UniqueViolationError("duplicate key value violates unique constraint: 'hunter2'")
    error.detail = "Key (name)=(hunter2) already exists."
    assert "hunter2" not in str(verdict(error))


@pytest.mark.parametrize("error", [ConnectionRefusedError(), TimeoutError(), asyncpg.InterfaceError("closed")])
async def test_a_connection_that_breaks_is_transient(error: Exception) -> None:
    with pytest.raises(Transient):
        async with translating():
            raise error


async def test_what_postgres_did_not_cause_passes_through() -> None:
    with pytest.raises(KeyError):
        async with translating():
            raise KeyError
