from dataclasses import dataclass

from hypothesis import example, given
from hypothesis import strategies as st

from infra.kafka.producer import BATCH_BYTES
from infra.kafka.room import FETCH_BYTES, POLLED, Limits, Room

LIMITS = Limits(records=1_000, bytes=1_000_000)


@dataclass
class Queue:
    held: int = 0
    held_bytes: int = 0


def room(*queues: Queue) -> Room:
    return Room.of(LIMITS, queues)


def test_a_partition_alone_may_fill_the_room() -> None:
    only = Queue(999)
    assert not room(only).full(only)
    only.held = 1_000
    assert room(only).full(only)
    only.held = 500
    assert not room(only).drained(only)
    only.held = 499
    assert room(only).drained(only)


def test_a_busy_partition_may_use_half_while_the_others_are_idle() -> None:
    busy, *idle = queues = [Queue(499), Queue(), Queue(), Queue()]
    assert not room(*queues).full(busy)
    busy.held = 500
    assert room(*queues).full(busy)
    assert not any(room(*queues).full(each) for each in idle)


def test_in_a_spent_room_each_keeps_its_share() -> None:
    """One that waits for a dependency cannot starve the others, nor they it."""
    waiting, below, at = queues = [Queue(800), Queue(100), Queue(334)]
    assert [room(*queues).full(each) for each in queues] == [True, False, True]
    assert room(*queues).drained(below)
    assert not room(*queues).drained(at)
    assert not room(*queues).drained(waiting)


def test_limits_are_lowered_and_never_raised() -> None:
    assert Limits(records=100, bytes=10).within(50, 1_000) == Limits(records=50, bytes=10)


def test_a_fetch_takes_a_producers_batch() -> None:
    """A broker hands out a batch over the limit only as the first of an answer: one round trip each."""
    assert FETCH_BYTES >= BATCH_BYTES


def test_bytes_count_as_records_do() -> None:
    large = Queue(2, 1_000_000)
    assert room(large).full(large)
    assert not room(Queue(2, 499_999)).full(Queue(2, 499_999))


@given(st.integers(1, 24), st.lists(st.tuples(st.integers(0, 23), st.integers(1, 250)), max_size=400))
@example(24, [*((number, 41) for number in range(24)), *((number, 250) for number in range(24))])
def test_no_arrivals_hold_more_than_twice_the_room_and_a_poll_each(
    partitions: int, polls: list[tuple[int, int]]
) -> None:
    """A poll brings at most a quarter of the room, for partitions that were not paused when it began."""
    queues = [Queue() for _ in range(partitions)]
    paused = [False] * partitions
    for number, records in polls:
        at = number % partitions
        if not paused[at]:
            queues[at].held += records
        now = room(*queues)
        paused = [
            not now.drained(queue) if held else now.full(queue) for queue, held in zip(queues, paused, strict=True)
        ]
    assert sum(queue.held for queue in queues) <= 2 * LIMITS.records + (partitions + 1) * LIMITS.records // POLLED
