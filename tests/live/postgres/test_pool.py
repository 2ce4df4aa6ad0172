"""What Postgres does, in our two words."""

import asyncio
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from infra.errors import Permanent, Transient
from infra.postgres.pool import open_pool, translated, translating
from infra.settings import PostgresSettings
from tests.live.postgres.conftest import Pool


async def test_jsonb_is_python_values(pool: Pool) -> None:
    value = {"a": [1, 2.5, None, True], "ü": "\n"}
    assert await pool.fetchval("select $1::jsonb", value) == value
    assert await pool.fetchval("select '[]'::jsonb") == []


@pytest.mark.parametrize(
    ("statement", "arguments", "outcome"),
    [
        ("select $1::text", ("a\x00b",), Permanent),
        ("select $1::text", ("\ud800",), Permanent),
        ("select $1::int", ("hunter2",), Permanent),
        ("select 1 / 0", (), Permanent),
        ("insert into api_keys (key_id, workspace, name, hash) values ('hunter2', 'no-such', '', '')", (), Permanent),
        ("selec", (), Permanent),
        ("select * from a_table_of_tomorrow", (), Transient),
        ("select pg_terminate_backend(pg_backend_pid())", (), Transient),
    ],
)
async def test_each_failure_has_its_outcome(
    pool: Pool, statement: str, arguments: tuple[object, ...], outcome: type[Exception]
) -> None:
    with pytest.raises(outcome) as raised:
        async with translating():
            await pool.fetchval(statement, *arguments)
    assert "hunter2" not in str(raised.value)
    assert await pool.fetchval("select 1") == 1


async def test_a_statement_that_takes_too_long_is_transient(pool: Pool) -> None:
    @translated
    async def slow() -> None:
        await pool.fetchval("select pg_sleep(5)", timeout=0.05)

    with pytest.raises(Transient):
        await slow()


async def test_a_process_may_start_while_the_server_is_away(postgres: dict[str, str]) -> None:
    address = urlsplit(postgres["POSTGRES_DSN"])
    closed = urlunsplit(address._replace(netloc=f"{address.username}:{address.password}@127.0.0.1:1"))
    async with open_pool(PostgresSettings(dsn=closed)) as pool:
        with pytest.raises(Transient):
            async with translating():
                await pool.fetchval("select 1")


async def test_a_stop_does_not_wait_for_ever(postgres: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.postgres.pool.CLOSE_TIMEOUT_S", 0.1)
    async with asyncio.timeout(60):
        async with open_pool(PostgresSettings(dsn=postgres["POSTGRES_DSN"])) as pool:
            held = await pool.acquire()
            task = asyncio.ensure_future(held.fetchval("select pg_sleep(30)"))
            await asyncio.sleep(0)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await task
