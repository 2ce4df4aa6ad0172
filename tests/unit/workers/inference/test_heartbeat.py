import asyncio

import pytest

from infra.errors import Transient
from infra.redis.load import Load, Queued
from tests.eventually import eventually
from workers.inference.heartbeat import Heartbeat
from workers.inference.service import Service
from workers.inference.slots import Slots


class Board:
    def __init__(self) -> None:
        self.posts: list[tuple[str, Load]] = []
        self.withdrawn: list[str] = []
        self.away = False

    async def post(self, process: str, load: Load) -> None:
        if self.away:
            raise Transient("redis", "ConnectionError")
        self.posts.append((process, load))

    async def withdraw(self, process: str) -> None:
        if self.away:
            raise Transient("redis", "ConnectionError")
        self.withdrawn.append(process)


async def test_it_tells_what_is_at_work_and_what_waits_and_takes_it_back_at_the_end() -> None:
    slots, release, board = Slots(1, {"a": 2.0}), asyncio.Event(), Board()

    async def answer(workspace: str) -> None:
        async with slots.slot(workspace, 0.0):
            await release.wait()

    tasks = [asyncio.create_task(answer(workspace)) for workspace in ("a", "a", "b")]
    await eventually(lambda: slots.depth == 2)
    heartbeat = await Heartbeat.open(board, slots.load, every_s=0.01)
    await eventually(lambda: board.posts)
    assert board.posts[0][1] == Load(1, None, {"a": Queued(1, 1, 2.0), "b": Queued(1, 0, 1.0)})
    release.set()
    await asyncio.gather(*tasks)
    await eventually(lambda: board.posts[-1][1].workspaces == {})
    assert board.posts[-1][1].service_s is not None
    await heartbeat.close()
    assert board.withdrawn == [board.posts[0][0]]


async def test_a_board_that_is_away_is_tried_again() -> None:
    board = Board()
    board.away = True
    heartbeat = await Heartbeat.open(board, Slots(1).load, every_s=0.01)
    await asyncio.sleep(0)
    board.away = False
    await eventually(lambda: board.posts)
    board.away = True
    await heartbeat.close()
    assert board.withdrawn == []


def test_the_mean_holds_no_guess_and_follows() -> None:
    service = Service()
    assert service.mean_s is None
    service.took(20.0)
    assert service.mean_s == pytest.approx(20.0)
    service.took(10.0)
    assert 10 < service.mean_s < 20
    for _ in range(60):
        service.took(1.0)
    assert service.mean_s == pytest.approx(1.0, abs=0.1)
