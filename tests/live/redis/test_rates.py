"""Counting over several processes, against a real server that comes and goes."""

import asyncio
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from infra.errors import Transient
from infra.redis.client import open_redis
from infra.redis.rates import Rate, SharedRates
from tests.eventually import eventually
from tests.valkey import Valkey


async def admitted(times: int, name: str, *rates: SharedRates) -> int:
    waits = await asyncio.gather(*(rates[number % len(rates)].take(name) for number in range(times)))
    assert all(wait >= 0 for wait in waits)
    return sum(wait == 0 for wait in waits)


async def test_two_processes_share_one_bound(own_valkey: Valkey) -> None:
    rate = Rate(2, 20)
    async with open_redis(own_valkey.settings()) as one, open_redis(own_valkey.settings()) as other:
        both = SharedRates(one, rate), SharedRates(other, rate)
        assert await admitted(200, "acme", *both) == 20
        assert await admitted(20, "globex", *both) == 20
        assert 0 < await both[0].take("acme") <= 20


async def test_the_bound_opens_again_and_keeps_nothing_for_ever(own_valkey: Valkey) -> None:
    name = uuid4().hex
    async with open_redis(own_valkey.settings()) as client:
        rates = SharedRates(client, Rate(5, 5))
        assert await admitted(10, name, rates) == 5
        await eventually(lambda: took(rates, name), within=5)
        kept = await keys(client)
        assert name in str(kept)
        for key in kept:
            assert 0 < await client.pttl(key) <= 2_000


async def took(rates: SharedRates, name: str) -> bool:
    return await rates.take(name) == 0


async def keys(client: Redis) -> list[bytes]:
    return [key async for key in client.scan_iter("millrace:rate:1*")]


async def test_a_server_that_is_away_or_was_restarted(own_valkey: Valkey) -> None:
    async with open_redis(own_valkey.settings()) as client:
        rates = SharedRates(client, Rate(5, 5))
        assert await rates.take("acme") == 0
        await own_valkey.stop()
        with pytest.raises(Transient) as away:
            await rates.take("acme")
        assert away.value.dependency == "redis"
        # A new server knows neither the counts nor the script.
        await own_valkey.start()
        assert await rates.take("acme") == 0
