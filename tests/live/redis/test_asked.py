"""What was asked under a key, in a real Valkey."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from infra.errors import Transient
from infra.redis.asked import PREFIX, Asked, AskedRequests
from tests.valkey import Valkey

AT = datetime(2026, 3, 14, 9, 26, 53, 589_793, UTC)


def asked() -> Asked:
    return Asked("f" * 64, 3, uuid4(), AT, AT)


async def test_one_of_many_claims_it(client: Redis) -> None:
    memory, request, claims = AskedRequests(client, 60), uuid4(), [asked() for _ in range(8)]
    earlier = await asyncio.gather(*(memory.claim("acme", request, each) for each in claims))
    assert earlier.count(None) == 1
    winner = claims[earlier.index(None)]
    assert [each for each in earlier if each is not None] == [winner] * 7
    assert await memory.find("acme", request) == winner
    assert await memory.find("globex", request) is None
    await memory.keep("acme", request, replace(winner, published=True))
    assert await memory.claim("acme", request, asked()) == replace(winner, published=True)
    await memory.forget("acme", request)
    assert await memory.claim("acme", request, winner) is None


async def test_it_is_kept_for_its_time(client: Redis) -> None:
    memory, request = AskedRequests(client, 60), uuid4()
    await memory.claim("acme", request, asked())
    await memory.visit("acme", request)
    names = await client.keys("*")
    assert len(names) == 2
    lives = [await client.ttl(name) for name in names]
    assert all(0 < life <= 60 for life in lives)


async def test_a_foreign_value_is_as_good_as_none(client: Redis) -> None:
    memory, request = AskedRequests(client, 60), uuid4()
    await client.set(f"{PREFIX}:acme:{request}", b"{}")
    assert await memory.find("acme", request) is None


async def test_visits_are_counted(client: Redis) -> None:
    memory, request = AskedRequests(client, 60), uuid4()
    assert await memory.visits("acme", request) == 0
    assert [await memory.visit("acme", request) for _ in range(2)] == [1, 2]
    assert await memory.visits("acme", request) == 2
    assert await memory.visits("globex", request) == 0


async def test_a_server_that_is_away_is_transient(client: Redis, own_valkey: Valkey) -> None:
    memory = AskedRequests(client, 60)
    await own_valkey.stop()
    with pytest.raises(Transient):
        await memory.claim("acme", uuid4(), asked())
    with pytest.raises(Transient):
        await memory.visit("acme", uuid4())
    await own_valkey.start()
