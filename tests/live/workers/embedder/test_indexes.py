import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from infra.errors import Transient
from infra.postgres.indexes import Index, IndexMismatchError, get, live, register
from tests.databases import fresh_database

MAIN = Index("main", "millrace_main", "all-MiniLM-L6-v2", 384)


@pytest.fixture
async def pool(postgres: dict[str, str]) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    async with fresh_database(postgres) as opened:
        yield opened


async def test_the_first_index_answers_and_a_later_one_waits(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    with pytest.raises(Transient, match="no index is live"):
        await live(pool)
    assert (await register(pool, MAIN)).state == "live"
    assert (await register(pool, MAIN)).state == "live"
    other = Index("next", "millrace_next", "larger", 768)
    assert (await register(pool, other)).state == "building"
    assert (await live(pool)).index_id == "main"
    assert await get(pool, "next") == other
    assert await get(pool, "absent") is None


async def test_of_many_that_start_at_once_one_is_live(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    wanted = [Index(f"i{number}", f"c{number}", "m", 3) for number in range(8)] * 2
    rows = await asyncio.gather(*(register(pool, index) for index in wanted))
    assert len({row.index_id for row in rows if row.state == "live"}) == 1


@pytest.mark.parametrize(
    "changed",
    [
        Index("main", "millrace_main", "other", 384),
        Index("main", "millrace_main", "all-MiniLM-L6-v2", 768),
        Index("main", "elsewhere", "all-MiniLM-L6-v2", 384),
        Index("second", "millrace_main", "all-MiniLM-L6-v2", 384),
    ],
)
async def test_what_would_mix_two_spaces_is_refused(pool: "asyncpg.Pool[asyncpg.Record]", changed: Index) -> None:
    await register(pool, MAIN)
    with pytest.raises(IndexMismatchError, match="MILLRACE_INDEX"):
        await register(pool, changed)
    assert (await live(pool)).model == MAIN.model
