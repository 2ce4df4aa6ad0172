"""Places held in a real Valkey that comes and goes."""

import pytest
from redis.asyncio import Redis

from infra.errors import Transient
from infra.redis.leases import Lease
from tests.eventually import eventually
from tests.valkey import Valkey


def lease(client: Redis, places: int = 2, ttl_s: float = 30) -> Lease:
    return Lease(client, "test", places, ttl_s)


async def test_no_two_hold_one_place(client: Redis) -> None:
    first, second, third = lease(client), lease(client), lease(client)
    assert [await each.take(1) for each in (first, second, third)] == [1, 0, None]
    # Renewed, not exchanged, whatever is wanted now.
    assert [await each.take(0) for each in (first, second, third)] == [1, 0, None]
    await first.release()
    assert await third.take(0) == 1


async def test_who_falls_silent_loses_it_to_another(client: Redis) -> None:
    silent, patient = lease(client, 1, 0.2), lease(client, 1)
    assert await silent.take(0) == 0
    assert await patient.take(0) is None

    async def taken() -> bool:
        return await patient.take(0) == 0

    await eventually(taken)
    assert await silent.take(0) is None
    await silent.release()
    assert await patient.take(0) == 0, "a lost place was given back for somebody else"


async def test_a_server_that_forgot_is_told_again(client: Redis, own_valkey: Valkey) -> None:
    held = lease(client)
    assert await held.take(1) == 1
    await own_valkey.stop()
    with pytest.raises(Transient):
        await held.take(1)
    await own_valkey.start()
    assert await held.take(1) == 1
    assert await lease(client).take(1) == 0
