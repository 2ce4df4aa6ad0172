import asyncio

import pytest

from infra.errors import Transient
from infra.queueing.heartbeat import Heartbeat
from infra.queueing.service import Service
from infra.queueing.slots import Meters, Slots
from infra.redis.load import Load, Queued
from infra.telemetry.metrics import Metric
from tests.eventually import eventually

METERS = Meters(Metric.INFERENCE_WAITED_SECONDS, Metric.INFERENCE_QUEUE_DEPTH, Metric.INFERENCE_ESTIMATED_WAIT_SECONDS)


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
    slots, release, board = Slots(1, METERS, {"a": 2.0}), asyncio.Event(), Board()

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
    heartbeat = await Heartbeat.open(board, Slots(1, METERS).load, every_s=0.01)
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
