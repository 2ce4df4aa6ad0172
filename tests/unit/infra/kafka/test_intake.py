"""Which partitions are polled; the polls themselves are tested on a real broker."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from infra.kafka.intake import Intake
from infra.kafka.room import Limits
from infra.kafka.timing import Timing
from tests.eventually import eventually, lapse

A, B, C = (TopicPartition("t", number) for number in range(3))
LIMITS = Limits(records=100, bytes=1_000_000)


@dataclass
class Queue:
    held: int = 0
    held_bytes: int = 0
    failure: Exception | None = None


@dataclass
class Consumer:
    """Writes down what was polled for."""

    polls: list[tuple[set[TopicPartition], int, int]] = field(default_factory=list)
    during: Callable[[], None] = lambda: None

    def assignment(self) -> set[TopicPartition]:
        return {A, B, C}

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int, max_records: int) -> dict[Any, Any]:
        self.polls.append((set(partitions), timeout_ms, max_records))
        self.during()
        return {}


@dataclass
class Bench:
    queues: dict[TopicPartition, Queue]
    timing: Timing = field(default_factory=lambda: Timing(poll_s=600, full_poll_s=0.001))

    def __post_init__(self) -> None:
        self.consumer = Consumer()
        self.intake = Intake(self.queues, LIMITS, self.timing)

    async def polled(self) -> set[TopicPartition]:
        await self.intake.next(cast(AIOKafkaConsumer, self.consumer))
        return self.consumer.polls[-1][0]


async def test_while_all_have_room_all_are_polled_and_waited_for() -> None:
    bench = Bench({A: Queue(10), B: Queue(49)})
    await bench.polled()
    assert bench.consumer.polls == [(set(), 600_000, 25)]
    assert not bench.intake.full


async def test_a_full_partition_is_left_out_until_it_has_drained() -> None:
    bench = Bench({A: Queue(60), B: Queue()})
    assert await bench.polled() == {B, C}
    assert bench.intake.full == 1
    bench.queues[A].held = 30
    assert await bench.polled() == {B, C}
    bench.queues[A].held = 20
    assert await bench.polled() == set()


async def test_one_that_has_failed_is_left_out_for_good() -> None:
    bench = Bench({A: Queue(0, failure=ValueError())})
    assert await bench.polled() == {B, C}
    assert await bench.polled() == {B, C}


async def test_one_that_was_given_up_is_forgotten() -> None:
    bench = Bench({A: Queue(100)})
    assert await bench.polled() == {B, C}
    del bench.queues[A]
    bench.intake.finished(A)
    assert await bench.polled() == set()


async def test_with_all_full_nothing_is_asked_for_and_draining_wakes_it() -> None:
    bench = Bench({A: Queue(40), B: Queue(40), C: Queue(40)})
    waiting = asyncio.create_task(bench.polled())
    await eventually(lambda: bench.intake.full == 3)
    bench.queues[A].held = 21
    bench.intake.finished(A)
    await lapse(0.02)
    assert not waiting.done()
    bench.queues[A].held = 20
    bench.intake.finished(A)
    async with asyncio.timeout(60):
        polled = await waiting
    assert not polled & {A, B, C}
    assert polled, "no name asks for all"
    bench.queues[A].held = 10
    assert await bench.polled() == {A}


async def test_what_has_room_is_looked_at_while_nothing_drains() -> None:
    bench = Bench({A: Queue(60), B: Queue()})
    async with asyncio.timeout(60):
        for _ in range(3):
            await bench.polled()
    assert [partitions for partitions, _, _ in bench.consumer.polls] == [{B, C}] * 3


@pytest.mark.parametrize("records", [1, 3])
async def test_a_small_room_is_polled_all_the_same(records: int) -> None:
    bench = Bench({})
    bench.intake = Intake({}, Limits(records=records), bench.timing)
    await bench.polled()
    assert bench.consumer.polls[-1][2] == 1


async def test_what_drains_while_it_is_polled_is_not_waited_for() -> None:
    bench = Bench({A: Queue(40), B: Queue(40), C: Queue(40)})

    def drain() -> None:
        bench.queues[A].held = 10
        bench.intake.finished(A)

    bench.consumer.during = drain
    async with asyncio.timeout(60):
        await bench.polled()
        assert await bench.polled() == {A}


async def test_a_poll_that_fails_is_none() -> None:
    """Else a worker whose every poll fails would look alive."""
    bench = Bench({})
    await bench.polled()
    polled_at = bench.intake.polled_at

    def fail() -> None:
        raise KafkaError

    bench.consumer.during = fail
    with pytest.raises(KafkaError):
        await bench.polled()
    assert bench.intake.polled_at == polled_at
