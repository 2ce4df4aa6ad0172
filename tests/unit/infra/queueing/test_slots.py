import asyncio

import pytest

from infra.kafka.waiting import Waiting, enter
from infra.queueing.slots import Meters, NoTurnError, Slots
from infra.telemetry.metrics import REGISTRY, Metric
from tests.eventually import eventually

METERS = Meters(Metric.INFERENCE_WAITED_SECONDS, Metric.INFERENCE_QUEUE_DEPTH, Metric.INFERENCE_ESTIMATED_WAIT_SECONDS)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def held(slots: Slots, workspace: str, release: asyncio.Event, order: list[str], at: float = 0.0) -> None:
    async with slots.slot(workspace, at):
        order.append(workspace)
        await release.wait()


def shown(name: str) -> float:
    return REGISTRY.get_sample_value(f"millrace_{name}") or 0.0


async def test_no_more_than_the_slots_are_held_and_turns_alternate() -> None:
    slots, release, order = Slots(1, METERS), asyncio.Event(), list[str]()
    tasks = [asyncio.create_task(held(slots, "a", release, order, at)) for at in range(4)]
    await eventually(lambda: order == ["a"])
    tasks.append(asyncio.create_task(held(slots, "b", release, order)))
    await eventually(lambda: slots.depth == 4)
    assert shown("inference_queue_depth") == 4
    release.set()
    await asyncio.gather(*tasks)
    assert order == ["a", "b", "a", "a", "a"]
    assert slots.depth == shown("inference_queue_depth") == 0


async def test_the_estimated_wait_counts_those_before_and_the_mean_turn() -> None:
    clock = Clock()
    slots, release = Slots(2, METERS, clock=clock), asyncio.Event()
    assert slots.estimated_wait_s == 0
    tasks = [asyncio.create_task(held(slots, "a", release, [])) for _ in range(5)]
    await eventually(lambda: slots.depth == 3)
    assert slots.estimated_wait_s == shown("inference_estimated_wait_seconds") == pytest.approx(4 * 1.0 / 2)
    release.set()
    await asyncio.gather(*tasks)


async def test_who_stops_waiting_leaves_the_queue() -> None:
    slots, release, order = Slots(1, METERS), asyncio.Event(), list[str]()
    first = asyncio.create_task(held(slots, "a", release, order))
    await eventually(lambda: order == ["a"])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await held(slots, "b", release, order)
    assert slots.depth == 0
    with pytest.raises(NoTurnError):
        async with slots.slot("b", 0.0, within_s=0.01):
            pass
    assert slots.depth == 0
    release.set()
    await first
    await held(slots, "c", release, order)
    assert order == ["a", "c"]


async def test_a_slot_given_to_somebody_who_just_left_goes_on() -> None:
    slots, release, order = Slots(1, METERS), asyncio.Event(), list[str]()

    async def ending() -> None:
        await held(slots, "a", release, order)
        second.cancel()  # in the step of the loop in which the slot was given to it

    first = asyncio.create_task(ending())
    await eventually(lambda: order == ["a"])
    second = asyncio.create_task(held(slots, "b", asyncio.Event(), order))
    await eventually(lambda: slots.depth == 1)
    third = asyncio.create_task(held(slots, "c", release, order))
    await eventually(lambda: slots.depth == 2)
    release.set()
    await asyncio.wait_for(third, 60)
    await first
    assert second.cancelled()
    assert order == ["a", "c"]


async def test_a_failure_inside_gives_the_slot_back() -> None:
    slots = Slots(1, METERS)
    with pytest.raises(ZeroDivisionError):
        async with slots.slot("a", 0.0):
            raise ZeroDivisionError
    async with asyncio.timeout(60), slots.slot("a", 0.0):
        pass


async def test_a_partition_given_up_takes_back_those_that_wait_and_lets_the_others_finish() -> None:
    slots, release, order = Slots(1, METERS), asyncio.Event(), list[str]()
    begun: list[str] = []
    partition = Waiting(lambda: begun.append("begun"))

    async def of_partition(name: str) -> None:
        enter(partition)
        await held(slots, name, release, order)

    working = asyncio.create_task(of_partition("a"))
    waiting = asyncio.create_task(of_partition("a"))
    await eventually(lambda: slots.depth == 1)
    partition.give_back()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert not working.done()
    late = asyncio.create_task(of_partition("a"))
    await asyncio.wait([late])
    assert late.cancelled()
    assert slots.depth == 0
    release.set()
    await working
    assert begun == ["begun"]


@pytest.mark.parametrize("waiting", [1, 3])
async def test_a_slot_that_falls_free_in_the_step_in_which_its_next_holder_gives_up_goes_on(waiting: int) -> None:
    slots, release, order = Slots(1, METERS), asyncio.Event(), list[str]()
    holder = asyncio.create_task(held(slots, "a", release, order))
    await eventually(lambda: order == ["a"])
    leaving = [asyncio.create_task(held(slots, "b", release, order, at)) for at in range(waiting)]
    await eventually(lambda: slots.depth == waiting)
    # The holder runs before those who were cancelled: it finds them in the queue still.
    release.set()
    for task in leaving:
        task.cancel()
    await asyncio.gather(holder, *leaving, return_exceptions=True)
    assert holder.exception() is None
    assert all(task.cancelled() for task in leaving)
    assert slots.depth == 0
    assert slots.estimated_wait_s == 0
    await asyncio.wait_for(held(slots, "c", release, order), 60)
    assert order == ["a", "c"]


async def laned(slots: Slots, lane: str, release: asyncio.Event, order: list[str], limit: int | None = 1) -> None:
    async with slots.slot("a", 0.0, lane, limit):
        order.append(lane)
        await release.wait()


async def test_a_full_backend_keeps_no_slot_from_questions_for_another() -> None:
    slots, release, order = Slots(3, METERS), asyncio.Event(), list[str]()
    tasks = [asyncio.create_task(laned(slots, lane, release, order)) for lane in ("x", "x", "x", "y")]
    await eventually(lambda: order == ["x", "y"])
    assert slots.depth == 2
    assert slots.estimated_wait_s > 0
    assert shown_at_work("x") == shown_at_work("y") == 1
    release.set()
    await asyncio.gather(*tasks)
    assert sorted(order) == ["x", "x", "x", "y"]
    assert shown_at_work("x") == 0


async def test_a_full_backend_makes_the_wait_longer_whatever_slots_are_free() -> None:
    slots, release, order = Slots(8, METERS), asyncio.Event(), list[str]()
    assert slots.load().slots == 8
    tasks = [asyncio.create_task(laned(slots, "x", release, order, 2)) for _ in range(5)]
    await eventually(lambda: slots.depth == 3)
    assert slots.load().slots == 2
    assert slots.estimated_wait_s == shown("inference_estimated_wait_seconds") == pytest.approx(4 * 1.0 / 2)
    release.set()
    await asyncio.gather(*tasks)
    assert slots.load().slots == 8
    assert slots.estimated_wait_s == 0


async def test_who_moves_on_gives_its_place_back_and_goes_before_newcomers() -> None:
    slots, release, order = Slots(4, METERS), asyncio.Event(), list[str]()
    held_y = asyncio.create_task(laned(slots, "y", release, order))
    await eventually(lambda: order == ["y"])

    async def moving() -> None:
        async with slots.slot("a", 0.0, "x", 1) as hold:
            await hold.move("y", 1)
            order.append("moved")

    moves = asyncio.create_task(moving())
    await eventually(lambda: shown_at_work("x") == 0 and slots.depth == 0)
    newcomer = asyncio.create_task(laned(slots, "y", release, order))
    behind = asyncio.create_task(laned(slots, "x", release, order))
    await eventually(lambda: order == ["y", "x"])
    release.set()
    await asyncio.gather(held_y, moves, newcomer, behind)
    assert order == ["y", "x", "moved", "y"]


async def test_who_gives_up_moving_leaves_no_place_taken() -> None:
    slots, release, order = Slots(4, METERS), asyncio.Event(), list[str]()
    held_y = asyncio.create_task(laned(slots, "y", release, order))
    await eventually(lambda: order == ["y"])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), slots.slot("a", 0.0, "x", 1) as hold:
            await hold.move("y", 1)
    release.set()
    await held_y
    await laned(slots, "x", release, order)
    await laned(slots, "y", release, order)
    assert order == ["y", "x", "y"]


def shown_at_work(lane: str) -> float:
    return REGISTRY.get_sample_value("millrace_backend_at_work", {"backend": lane}) or 0.0


async def test_one_workspace_leaves_a_slot_for_the_next_to_come() -> None:
    slots, gate = Slots(3, METERS, each=2), asyncio.Event()
    held: list[str] = []

    async def hold(workspace: str) -> None:
        async with slots.slot(workspace, 0):
            held.append(workspace)
            await gate.wait()

    flood = [asyncio.create_task(hold("flood")) for _ in range(5)]
    await eventually(lambda: held == ["flood", "flood"])
    calm = asyncio.create_task(hold("calm"))
    await eventually(lambda: held == ["flood", "flood", "calm"])
    gate.set()
    await asyncio.gather(*flood, calm)
    assert held.count("flood") == 5
