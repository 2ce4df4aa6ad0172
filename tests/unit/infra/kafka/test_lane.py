import asyncio
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from structlog.testing import capture_logs

from infra.errors import Permanent, Transient
from infra.kafka.codec import Encoded, encode, new_envelope
from infra.kafka.handling import Handling
from infra.kafka.lane import OVERHEAD, Lane
from infra.kafka.outcomes import HANDLER_ATTEMPTS, Ceiling, CeilingReached
from infra.kafka.producer import Publisher
from infra.kafka.retry import Backoff
from infra.kafka.waiting import waiting
from infra.kafka.worker import Delivery, Each, Micro, Outgoing, Slices, Subscription
from infra.objects.store import ObjectStore
from infra.queueing.shares import BULK_BYTES, Deletions
from infra.telemetry.metrics import REGISTRY
from schemas.dead_letters import DeadLetter, Reason
from schemas.raw import RawEvent
from tests.events import raw_event
from tests.eventually import eventually
from tests.records import RawRecord
from topics.catalogue import DEAD_LETTERS, RAW_EVENTS

PARTITION = TopicPartition("raw.events", 0)


class RecordingPublisher(Publisher):
    """Keeps what would be sent; the wire itself is tested on a real broker."""

    def __init__(self, objects: ObjectStore) -> None:
        super().__init__(["nowhere:1"], objects, patience_s=1)
        self.sent: list[Encoded] = []
        self.down = False

    async def send(self, records: Sequence[Encoded]) -> None:
        if self.down:
            raise Transient("kafka", "down")
        self.sent.extend(records)

    def letters(self) -> list[DeadLetter]:
        return [
            DeadLetter.model_validate_json(record.value or b"")
            for record in self.sent
            if record.topic == DEAD_LETTERS.name
        ]


class Bench:
    """A lane with a handler that a test scripts by the delivery's name."""

    def __init__(self, tmp_path: Path, mode: Micro | Each, ceiling: int = 500) -> None:
        self.objects = ObjectStore.open(tmp_path.as_uri())
        self.publisher = RecordingPublisher(self.objects)
        self.script: dict[str, list[Exception | asyncio.Event]] = {}
        self.calls: list[list[str]] = []
        self.finished: list[str] = []
        self.ceiling = Ceiling(ceiling)
        self.handling = Handling(
            "tested", None, self.publisher, self.objects, ceiling=self.ceiling, backoff=Backoff(0.001, 0.01)
        )
        self.lane = Lane(PARTITION, Subscription(RAW_EVENTS, mode, self.handle), self.handling)

    async def handle(self, deliveries: Sequence[Delivery[RawEvent]], tools: None) -> Iterable[Outgoing]:
        names = [delivery.body.delivery for delivery in deliveries]
        self.calls.append(names)
        for name in names:
            while self.script.get(name):
                step = self.script[name].pop(0)
                if isinstance(step, Exception):
                    raise step
                await step.wait()
        self.finished.extend(names)
        return []

    def poison(self, count: int, name: str = "bad") -> list[str]:
        """Return the names of so many records that can never be handled."""
        names = [f"{name} {number}" for number in range(count)]
        for each in names:
            self.script[each] = [Permanent(Reason.REFUSED_BY_SINK, "no") for _ in range(2)]
        return names

    async def offer(
        self, *names: str, key: str | None = None, first: int = 0, workspace: str = "acme", operation: Any = "put"
    ) -> None:
        records = []
        for offset, name in enumerate(names, start=first):
            body = raw_event(name, workspace=workspace, operation=operation)
            sent = await encode(RAW_EVENTS, body, new_envelope(body, id=body.event_id, source="src_a"), self.objects)
            records.append(
                RawRecord(offset=offset, key=(key or name).encode(), value=sent.value, headers=list(sent.headers))
            )
        self.lane.offer(records)


async def test_a_micro_batch_takes_what_is_there_up_to_its_bound(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Micro(records=2))
    await bench.offer("a", "b", "c")
    await eventually(lambda: bench.lane.progress.committable == 3)
    assert bench.calls == [["a", "b"], ["c"]]
    await bench.lane.close(1)


async def test_one_bad_record_of_a_batch_dies_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Micro(records=10))
    bench.script["b"] = [Permanent(Reason.REFUSED_BY_SINK, "no"), Permanent(Reason.REFUSED_BY_SINK, "no")]
    await bench.offer("a", "b", "c")
    await eventually(lambda: bench.lane.progress.committable == 3)
    (letter,) = bench.publisher.letters()
    assert (letter.offset, letter.reason, letter.worker) == (1, Reason.REFUSED_BY_SINK, "tested")
    assert letter.event_id == raw_event("b").event_id
    assert bench.finished[-2:] == ["a", "c"] or sorted(bench.finished) == ["a", "a", "c"]
    await bench.lane.close(1)


async def test_a_down_dependency_fills_no_dead_letters_and_commits_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Micro())
    bench.script["a"] = [Transient("qdrant", "down") for _ in range(20)]
    await bench.offer("a")
    await eventually(lambda: len(bench.calls) > 3)
    assert bench.lane.progress.committable is None
    await eventually(lambda: bench.lane.progress.committable == 1)
    assert bench.publisher.letters() == []
    await bench.lane.close(1)


async def test_many_that_wait_for_one_dependency_are_counted_each_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.kafka.handling.SAID_EVERY_S", 3_600.0)
    labels = {"worker": "tested", "dependency": "qdrant"}
    before = REGISTRY.get_sample_value("millrace_retries_total", labels) or 0.0
    bench = Bench(tmp_path, Each(concurrency=50))
    names = [f"record {number}" for number in range(50)]
    bench.script = {name: [Transient("qdrant", "down"), Transient("qdrant", "down")] for name in names}
    bench.script["record 0"].insert(0, KeyError("a bug"))
    with capture_logs() as logs:
        await bench.offer(*names)
        await eventually(lambda: bench.lane.progress.committable == 50)
    said = [entry["dependency"] for entry in logs if entry["event"] == "trying again"]
    assert sorted(said) == ["handler", "qdrant"]
    assert (REGISTRY.get_sample_value("millrace_retries_total", labels) or 0.0) == before + 100
    await bench.lane.close(1)


async def test_a_dead_letter_that_cannot_be_published_holds_the_commit(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Micro())
    bench.publisher.down = True
    bench.script["a"] = [Permanent(Reason.INVALID_JSON, "no")]
    await bench.offer("a")
    await eventually(lambda: len(bench.calls) == 1)
    assert bench.lane.progress.committable is None
    bench.publisher.down = False
    await eventually(lambda: bench.lane.progress.committable == 1)
    assert len(bench.publisher.letters()) == 1
    await bench.lane.close(1)


async def test_an_unclassed_error_is_tried_three_times_then_buried(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Micro())
    bench.script["a"] = [KeyError("a bug") for _ in range(1 + HANDLER_ATTEMPTS)]  # once in company, then alone
    await bench.offer("a", "b")
    await eventually(lambda: bench.lane.progress.committable == 2)
    (letter,) = bench.publisher.letters()
    assert (letter.reason, letter.offset) == (Reason.HANDLER_ERROR, 0)
    assert "b" in bench.finished
    await bench.lane.close(1)


async def test_slow_records_do_not_hold_other_keys_but_hold_the_commit(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Each(concurrency=3))
    gate = asyncio.Event()
    bench.script["slow"] = [gate]
    await bench.offer("slow", "b", "c", "d")
    await eventually(lambda: bench.finished == ["b", "c", "d"])
    assert bench.lane.progress.committable is None
    gate.set()
    await eventually(lambda: bench.lane.progress.committable == 4)
    await bench.lane.close(1)


async def test_records_of_one_key_stay_in_order(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Each(concurrency=4))
    gate = asyncio.Event()
    bench.script["1"] = [gate]
    await bench.offer("1", "2", "3", key="same")
    await bench.offer("other", first=3)
    await eventually(lambda: bench.finished == ["other"])
    gate.set()
    await eventually(lambda: bench.finished == ["other", "1", "2", "3"])
    await bench.lane.close(1)


async def test_concurrency_is_bounded(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Each(concurrency=2))
    gate = asyncio.Event()
    for name in "abcd":
        bench.script[name] = [gate]
    await bench.offer(*"abcd")
    await eventually(lambda: len(bench.calls) == 2)
    assert bench.calls == [["a"], ["b"]]
    gate.set()
    await eventually(lambda: bench.lane.progress.committable == 4)
    await bench.lane.close(1)


async def test_a_lane_says_what_it_holds(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Each())
    gate = asyncio.Event()
    bench.script["a"] = [gate]
    await bench.offer(*"abcd")
    assert bench.lane.held == 4
    assert bench.lane.held_bytes > 4 * OVERHEAD
    gate.set()
    await eventually(lambda: (bench.lane.held, bench.lane.held_bytes) == (0, 0))
    await bench.lane.close(1)


async def test_closing_lets_work_finish_but_takes_up_nothing_new(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Each())
    gate = asyncio.Event()
    bench.script["a"] = [gate]
    await bench.offer("a", "b")
    await eventually(lambda: bench.calls == [["a"]])
    closing = asyncio.create_task(bench.lane.close(5))
    gate.set()
    await closing
    assert bench.finished == ["a"]
    assert bench.lane.progress.committable == 1


async def test_closing_gives_up_work_that_outlasts_the_grace_uncommitted(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Each())
    bench.script["a"] = [asyncio.Event()]
    await bench.offer("a")
    await eventually(lambda: bench.calls == [["a"]])
    await bench.lane.close(0.05)
    assert bench.lane.progress.committable is None


async def test_closing_does_not_wait_for_a_dependency(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Micro())
    bench.script["a"] = [Transient("qdrant", "down", retry_after=0.01) for _ in range(10_000)]
    await bench.offer("a")
    await eventually(lambda: len(bench.calls) > 1)
    async with asyncio.timeout(60):
        await bench.lane.close(600)
    assert bench.lane.progress.committable is None
    assert bench.lane.failure is None


@pytest.mark.parametrize("mode", [Micro(), Each(concurrency=2)])
async def test_a_burst_of_dead_letters_stops_its_workspace(mode: Micro | Each, tmp_path: Path) -> None:
    """It drains no further, is committed no further, and takes no room, so that the partition can be read past it."""
    bench = Bench(tmp_path, mode, ceiling=3)
    bad = bench.poison(10)
    await bench.offer(*bad)
    await eventually(lambda: bench.lane.held == 0)
    assert len(bench.publisher.letters()) == 3
    assert (bench.lane.progress.committable or 0) <= 3
    assert (bench.lane.failure, bench.lane.held_bytes, bench.lane.reads_past) == (None, 0, True)
    (fault,) = bench.ceiling.faults()
    assert fault.startswith("workspace acme stopped")
    await bench.lane.close(1)


@pytest.mark.parametrize("mode", [Micro(), Each(concurrency=2)])
async def test_behind_a_stopped_workspace_the_others_go_on(mode: Micro | Each, tmp_path: Path) -> None:
    bench = Bench(tmp_path, mode, ceiling=3)
    bad = bench.poison(10)
    await bench.offer(*bad)
    await eventually(lambda: bool(bench.ceiling.faults()))
    letters, behind = len(bench.publisher.letters()), bench.lane.progress.committable
    await bench.offer("g1", "g2", first=10, workspace="globex")
    await bench.offer("more of it", first=12)
    await bench.offer("g3", first=13, workspace="globex")
    await eventually(lambda: bench.lane.held == 0)
    assert {"g1", "g2", "g3"} <= set(bench.finished)
    # What is good of the stopped workspace waits as well: a later state must not be followed by an older one.
    assert "more of it" not in bench.finished
    assert (len(bench.publisher.letters()), bench.lane.progress.committable) == (letters, behind)
    await bench.lane.close(1)


async def test_a_success_of_anybody_ends_the_row(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Micro(records=1), ceiling=3)
    for round_ in range(4):
        await bench.offer(*bench.poison(3, f"round {round_}"), first=10 * round_)
        await eventually(lambda: bench.lane.held == 0)
        await bench.offer(f"good {round_}", first=10 * round_ + 9, workspace="globex")
        await eventually(lambda: bench.lane.held == 0)
    assert len(bench.publisher.letters()) == 12
    assert (bench.ceiling.faults(), bench.lane.progress.committable) == ([], 40)
    await bench.lane.close(1)


async def test_dead_letters_of_several_workspaces_in_a_row_stop_the_partition(tmp_path: Path) -> None:
    """No workspace explains them: the fault is the worker's."""
    bench = Bench(tmp_path, Micro(), ceiling=3)
    for number in range(10):
        await bench.offer(*bench.poison(1, f"ws{number}"), first=number, workspace=f"ws{number}")
    await eventually(lambda: isinstance(bench.lane.failure, CeilingReached))
    assert len(bench.publisher.letters()) == 4
    assert bench.ceiling.faults() == []
    await bench.lane.close(1)


async def test_what_stands_behind_a_stopped_workspace_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.kafka.lane.READ_PAST", 20)
    bench = Bench(tmp_path, Micro(), ceiling=3)
    await bench.offer(*bench.poison(10))
    await eventually(lambda: bool(bench.ceiling.faults()))
    await bench.offer(*(f"g{number}" for number in range(20)), first=10, workspace="globex")
    await eventually(lambda: isinstance(bench.lane.failure, CeilingReached))
    await bench.lane.close(1)


async def test_work_beside_a_stopped_workspace_is_progress(tmp_path: Path) -> None:
    """The committed prefix stands still: taken for a hung partition, the process would be killed again and again."""
    bench = Bench(tmp_path, Micro(), ceiling=3)
    await bench.offer(*bench.poison(10))
    await eventually(lambda: bool(bench.ceiling.faults()) and bench.lane.held == 0)
    gate = asyncio.Event()
    bench.script["g2"] = [gate]
    await bench.offer("g1", first=10, workspace="globex")
    await eventually(lambda: bench.lane.held == 0)
    await bench.offer("g2", first=11, workspace="globex")
    await bench.offer("h1", first=12, workspace="initech")
    bench.lane._advanced_at -= 1_000
    bench.handling.waited_at -= 1_000
    await eventually(lambda: "h1" in bench.finished and bench.lane.held == 1)
    assert bench.lane.idle_s < 900
    gate.set()
    await bench.lane.close(1)


async def test_records_deleted_unread_show_as_a_gap_and_compaction_does_not(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Micro(4))
    assert bench.lane.skipped([RawRecord(offset=7)]) == 0
    bench.lane.offer([RawRecord(offset=7)])
    assert bench.lane.skipped([RawRecord(offset=8)]) == 0
    assert bench.lane.skipped([RawRecord(offset=20), RawRecord(offset=21)]) == 12
    await bench.lane.close(1)


@pytest.mark.parametrize("mode", [Micro(records=3), Micro(records=10, bytes=1_500), Each(concurrency=2)])
async def test_what_is_finished_is_held_no_more(mode: Micro | Each, tmp_path: Path) -> None:
    """Bytes that stayed counted would pause the partition for good."""
    bench = Bench(tmp_path, mode)
    await bench.offer(*(str(number) for number in range(10)))
    assert bench.lane.held_bytes > 2_000
    await eventually(lambda: bench.lane.progress.committable == 10)
    await eventually(lambda: bench.lane.held == 0)
    assert bench.lane.held_bytes == 0
    await bench.lane.close(1)


async def test_a_body_in_the_object_store_counts_from_when_it_is_fetched(tmp_path: Path) -> None:
    """Sixty-four of them in one batch would stand in memory at once, where the limit is that of one. Those that wait
    take no room: it would keep the partition from reading on to what the other workspaces sent."""
    bench = Bench(tmp_path, Micro(records=10, bytes=1_000_000))
    large = [raw_event(f"l{number}", body=b"x" * 1_500_000) for number in range(3)]
    records = []
    for offset, body in enumerate(large):
        sent = await encode(RAW_EVENTS, body, new_envelope(body, id=body.event_id, source="s"), bench.objects)
        assert sent.value == b""
        records.append(RawRecord(offset=offset, key=sent.key, value=sent.value, headers=list(sent.headers)))
    gate = asyncio.Event()
    bench.script["l0"] = [gate]
    bench.lane.offer(records)
    assert bench.lane.held_bytes < 50_000
    await eventually(lambda: bench.calls == [["l0"]])
    assert 1_500_000 < bench.lane.held_bytes < 3_000_000
    gate.set()
    await eventually(lambda: (bench.lane.held, bench.lane.held_bytes) == (0, 0))
    assert bench.calls == [["l0"], ["l1"], ["l2"]]
    await bench.lane.close(1)


async def test_closing_gives_back_what_only_waits_at_once_and_lets_the_rest_finish(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Each(concurrency=10))
    turn, gate = asyncio.Event(), asyncio.Event()
    bench.script["a"] = [gate]
    handle = bench.handle

    async def in_turn(deliveries: Sequence[Delivery[RawEvent]], tools: None) -> Iterable[Outgoing]:
        if deliveries[0].body.delivery != "a":
            with waiting():
                await turn.wait()
        return await handle(deliveries, tools)

    subscription = Subscription(RAW_EVENTS, Each(concurrency=10), in_turn)
    await bench.lane.close(0)
    bench.lane = Lane(PARTITION, subscription, bench.handling)
    await bench.offer("a", "b", "c")
    await eventually(lambda: bench.calls == [["a"]])
    closing = asyncio.create_task(bench.lane.close(600))
    await asyncio.sleep(0)
    turn.set()  # too late: the partition is being given up
    gate.set()
    async with asyncio.timeout(60):
        await closing
    assert bench.finished == ["a"]
    assert bench.lane.progress.committable == 1
    assert bench.lane.failure is None


async def test_taking_up_many_leaves_the_loop_to_others(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Each(concurrency=1_000))
    gate = asyncio.Event()
    names = [f"r{number}" for number in range(640)]
    for name in names:
        bench.script[name] = [gate]
    begun_by_turn = []

    async def tick() -> None:
        while len(bench.calls) < len(names):
            begun_by_turn.append(len(bench.calls))
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    await bench.offer(*names)
    await asyncio.wait_for(ticking, 60)
    steps = [later - earlier for earlier, later in pairwise(begun_by_turn)]
    assert max(steps) <= 32
    gate.set()
    await eventually(lambda: bench.lane.progress.committable == len(names))
    await bench.lane.close(1)


async def test_a_flood_of_one_workspace_holds_up_no_other(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Micro(records=2))
    gate = asyncio.Event()
    flood = [f"f{number}" for number in range(20)]
    for name in flood:
        bench.script[name] = [gate]
    await bench.offer(*flood)
    await bench.offer("q0", "q1", first=20, workspace="calm")
    await eventually(lambda: bench.finished == ["q0", "q1"])
    assert bench.calls[0] == ["f0", "f1"]
    assert bench.lane.progress.committable is None, "what was overtaken is not done"
    gate.set()
    await eventually(lambda: bench.lane.progress.committable == 22)
    await bench.lane.close(1)


async def test_a_workspaces_deletions_and_small_records_overtake_its_bulk(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Micro(records=2))
    gate = asyncio.Event()
    large = raw_event("large", body=b"x" * BULK_BYTES)
    bench.script["large"] = [gate]
    sent = await encode(RAW_EVENTS, large, new_envelope(large, id=large.event_id, source="s"), bench.objects)
    bench.lane.offer([RawRecord(offset=0, key=b"large", value=sent.value, headers=list(sent.headers))])
    await bench.offer("small", first=1)
    await bench.offer("gone", first=2, operation="delete")
    await eventually(lambda: sorted(bench.finished) == ["gone", "small"])
    gate.set()
    await eventually(lambda: bench.lane.progress.committable == 3)
    await bench.lane.close(1)


async def test_a_deletion_waits_for_what_is_at_work_of_its_document_unless_the_handler_sees_it(tmp_path: Path) -> None:
    for deletions in Deletions:
        bench = Bench(tmp_path, Micro(records=1, deletions=deletions))
        gate = asyncio.Event()
        bench.script["put"] = [gate]
        await bench.offer("put", key="same")
        await eventually(lambda bench=bench: bench.calls == [["put"]])
        await bench.offer("next", key="other", first=1)
        await bench.offer("gone", key="same", first=2, operation="delete")
        await bench.offer("elsewhere", key="third", first=3, operation="delete")
        await eventually(lambda bench=bench: "elsewhere" in bench.finished)
        assert ("gone" in bench.finished) is (deletions is Deletions.BESIDE)
        gate.set()
        await eventually(lambda bench=bench: bench.lane.progress.committable == 4)
        await bench.lane.close(1)


async def test_a_record_that_cannot_be_decoded_is_sorted_too(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Micro())
    bench.lane.offer([RawRecord(offset=0, key=None, headers=[("workspace", b"\xff"), ("source", None)])])
    await eventually(lambda: bench.lane.progress.committable == 1)
    assert bench.lane.failure is None
    await bench.lane.close(1)


async def test_a_handler_that_publishes_in_parts_ends_before_its_failure_is_waited_for(tmp_path: Path) -> None:
    """What it holds (a place in a queue, a lock) would else be held until the dependency is back."""
    bench = Bench(tmp_path, Micro())
    begun, ended = [], []

    async def parts(deliveries: Sequence[Delivery[RawEvent]], tools: None) -> Slices:
        async def told() -> Slices:
            begun.append(len(begun))
            try:
                yield [Outgoing(RAW_EVENTS, each.body, cause=each) for each in deliveries]
            finally:
                ended.append(len(ended))

        return told()

    bench.handling._backoff = Backoff(3_600, 3_600)
    lane = Lane(PARTITION, Subscription(RAW_EVENTS, Micro(), parts), bench.handling)
    bench.publisher.down = True
    bench.lane, first = lane, bench.lane
    await bench.offer("a")
    await eventually(lambda: begun == [0])
    await eventually(lambda: ended == [0])
    assert lane.held == 1
    await lane.close(1)
    await first.close(1)
