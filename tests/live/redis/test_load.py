"""Loads posted to a real Valkey that comes and goes."""

import pytest
from redis.asyncio import Redis

from infra.errors import Transient
from infra.redis.load import PREFIXES, Load, LoadBoard, LoadWatch, Queued
from tests.eventually import eventually
from tests.valkey import Valkey

BUSY = Load(4, 1.5, {"acme": Queued(7, 4, 2.0), "größe": Queued(1, 0)})
IDLE = Load(2, None, models=("coder", "support-lora"))
PREFIX = PREFIXES["inference"]


async def test_what_is_posted_is_read_with_its_age_until_it_ends(client: Redis) -> None:
    board = LoadBoard(client, "inference")
    assert await board.read() == []
    await board.post("host:1", BUSY)
    await board.post("host:2", IDLE)
    first, second = await board.read()
    assert (first.load, second.load) == (BUSY, IDLE)
    assert 0 <= first.age_s < 1
    await board.post("host:1", IDLE)
    assert [posted.load for posted in await board.read()] == [IDLE, IDLE]
    await board.withdraw("host:2")
    assert len(await board.read()) == 1


async def test_a_worker_that_fell_silent_is_forgotten(client: Redis) -> None:
    await LoadBoard(client, "inference", kept_s=0.2).post("host:1", BUSY)
    board = LoadBoard(client, "inference")

    async def forgotten() -> bool:
        return await board.read() == []

    await eventually(forgotten)
    assert await client.smembers(PREFIX) == set()


async def test_each_stage_has_a_board_of_its_own(client: Redis) -> None:
    await LoadBoard(client, "retriever").post("host:1", BUSY)
    await LoadBoard(client, "inference").post("host:1", IDLE)
    assert [posted.load for posted in await LoadBoard(client, "retriever").read()] == [BUSY]
    assert [posted.load for posted in await LoadBoard(client, "inference").read()] == [IDLE]


async def test_what_is_not_ours_is_left_out(client: Redis) -> None:
    board = LoadBoard(client, "inference")
    await board.post("host:1", BUSY)
    await client.set(f"{PREFIX}:host:2", b'{"slots": "many"}', px=1_000)
    await client.sadd(PREFIX, "host:2")
    assert [posted.load for posted in await board.read()] == [BUSY]


async def test_a_worker_of_an_earlier_release_is_heard(client: Redis) -> None:
    await client.set(f"{PREFIX}:host:1", b'{"slots": 2, "service_s": 0.5, "workspaces": {}}', px=1_000)
    await client.sadd(PREFIX, "host:1")
    assert [posted.load for posted in await LoadBoard(client, "inference").read()] == [Load(2, 0.5)]


async def test_a_watch_follows_and_knows_nothing_while_the_server_is_away(client: Redis, own_valkey: Valkey) -> None:
    board = LoadBoard(client, "inference")
    watch = await LoadWatch.open(board, every_s=0.02, kept_s=1)
    try:
        await board.post("host:1", BUSY)
        await eventually(lambda: [posted.load for posted in watch.loads()] == [BUSY])
        await own_valkey.stop()
        with pytest.raises(Transient):
            await board.read()
        await eventually(lambda: watch.loads() == [])
        await own_valkey.start()

        async def told_again() -> bool:
            await board.post("host:1", IDLE)
            return [posted.load for posted in watch.loads()] == [IDLE]

        await eventually(told_again)
    finally:
        await watch.close()
