"""The delivery runtime on a real broker."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from infra.errors import Permanent, Transient
from infra.kafka import runtime as running_of
from infra.kafka.codec import new_envelope
from infra.kafka.producer import Publisher
from infra.kafka.retry import Backoff
from infra.kafka.runtime import Runtime, Timing
from infra.kafka.worker import Delivery, Micro, Outgoing, Worker
from infra.objects.store import ObjectStore
from schemas.dead_letters import DeadLetter, Reason
from schemas.ids import deterministic_id
from schemas.raw import RawEvent
from tests.events import raw_event
from tests.eventually import eventually
from tests.faults.proxy import proxied
from tests.live.kafka.conftest import committed, new, read_all
from tests.own_topic import create, topic_of_its_own
from topics.catalogue import DEAD_LETTERS, Topic

QUICK = Timing(session_s=6, heartbeat_s=0.2, poll_s=0.1)


class Effects:
    """What handlers did, counted per event, as a sink outside the process would show it."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.fail_once: dict[str, Exception] = {}
        self.hold: asyncio.Event | None = None
        self.poison: frozenset[str] = frozenset()

    async def take(self, deliveries: Sequence[Delivery[RawEvent]]) -> None:
        if self.hold is not None:
            await self.hold.wait()
        for delivery in deliveries:
            if (error := self.fail_once.pop(delivery.body.delivery, None)) is not None:
                raise error
            if delivery.body.delivery in self.poison:
                raise Permanent(Reason.REFUSED_BY_SINK, "no")
            self.seen[delivery.body.delivery] += 1


def worker_on(topic: Topic[RawEvent], effects: Effects, *, echo: Topic[RawEvent] | None = None) -> Worker[Effects]:
    @asynccontextmanager
    async def tools() -> AsyncIterator[Effects]:
        yield effects

    worker = Worker(f"tester-{topic.name}", tools=tools)

    @worker.handles(topic, Micro(records=16))
    async def handle(deliveries: Sequence[Delivery[RawEvent]], tools: Effects) -> Iterable[Outgoing]:
        await tools.take(deliveries)
        return [Outgoing(echo, delivery.body, cause=delivery) for delivery in deliveries] if echo else []

    return worker


Start = Callable[..., Awaitable[Runtime[Effects]]]


@pytest.fixture
async def start(bootstrap: str, publisher: Publisher, objects: ObjectStore) -> AsyncIterator[Start]:
    running: list[tuple[Runtime[Any], asyncio.Task[None]]] = []

    async def begin(worker: Worker[Effects], ceiling: int = 500) -> Runtime[Effects]:
        runtime = Runtime(worker, [bootstrap], publisher, objects, timing=QUICK, ceiling=ceiling)
        running.append((runtime, asyncio.create_task(runtime.run())))
        return runtime

    async def stopped(runtime: Runtime[Effects]) -> None:
        for known, task in running:
            if known is runtime:
                runtime.stop()
                await task

    begin.stop = stopped  # type: ignore[attr-defined]
    yield begin
    for runtime, task in running:
        runtime.stop()
        await task


async def publish(publisher: Publisher, topic: Topic[RawEvent], names: Iterable[str], workspace: str = "acme") -> None:
    for name in names:
        body = raw_event(name, subject=name, workspace=workspace)
        await publisher.publish(topic, body, new_envelope(body, id=body.event_id, source="src_a"))


async def test_every_event_is_handled_and_committed_and_a_restart_repeats_none(
    start: Start, publisher: Publisher, topic: Topic[RawEvent], bootstrap: str
) -> None:
    effects = Effects()
    names = [f"e{number}" for number in range(300)]
    await publish(publisher, topic, names)
    worker = worker_on(topic, effects)
    runtime = await start(worker)
    await eventually(lambda: len(effects.seen) == 300, within=20)
    await eventually(lambda: committed_is(bootstrap, worker.group_id, topic.name, 300))
    await start.stop(runtime)  # type: ignore[attr-defined]
    await start(worker)
    await publish(publisher, topic, ["after"])
    await eventually(lambda: effects.seen["after"] == 1)
    assert set(effects.seen.values()) == {1}


async def committed_is(bootstrap: str, group: str, topic: str, expected: int) -> bool:
    return await committed(bootstrap, group, topic) == expected


async def test_what_was_not_finished_is_delivered_again(
    start: Start, publisher: Publisher, topic: Topic[RawEvent], bootstrap: str, objects: ObjectStore
) -> None:
    effects = Effects()
    effects.hold = asyncio.Event()
    worker = worker_on(topic, effects)
    crashing = Runtime(worker, [bootstrap], publisher, objects, timing=Timing(stop_grace_s=0, session_s=6))
    task = asyncio.create_task(crashing.run())
    await publish(publisher, topic, ["a", "b"])
    await eventually(lambda: crashing.faults() == [])
    await eventually(lambda: sum(lane.held for lane in crashing._lanes.values()) > 0)
    crashing.stop()
    await task
    assert effects.seen == Counter()
    effects.hold = None
    await start(worker)
    await eventually(lambda: effects.seen == Counter(a=1, b=1), within=20)


async def test_poison_is_buried_whole_and_its_neighbours_pass(
    start: Start,
    publisher: Publisher,
    topic: Topic[RawEvent],
    bootstrap: str,
    raw_produce: Callable[..., Awaitable[None]],
) -> None:
    good = raw_event("good")
    headers = new_envelope(good, id=good.event_id, source="src_a").headers()
    poison: list[tuple[dict[str, Any], Reason]] = [
        ({"value": b"{not json", "headers": headers}, Reason.INVALID_JSON),
        ({"value": b"\xff\xfe", "headers": headers}, Reason.INVALID_JSON),
        ({"value": b"{}", "headers": headers}, Reason.SCHEMA_VIOLATION),
        ({"value": None, "key": b"k", "headers": headers}, Reason.NULL_BODY),
        ({"value": b"{}", "headers": []}, Reason.INVALID_HEADERS),
        ({"value": b"{}", "headers": [*headers, ("x", None)]}, Reason.INVALID_HEADERS),
        ({"value": b"{}", "headers": [*headers, ("x", b"\xff")]}, Reason.INVALID_HEADERS),
    ]
    effects = Effects()
    effects.fail_once = {"refused": Permanent(Reason.REFUSED_BY_SINK, "no")}
    await publish(publisher, topic, ["first"])
    for fields, _ in poison:
        await raw_produce(topic.name, partition=0, **fields)
    await publish(publisher, topic, ["last"])
    worker = worker_on(topic, effects)
    await start(worker)
    await eventually(lambda: effects.seen == Counter(first=1, last=1), within=20)
    await eventually(lambda: committed_is(bootstrap, worker.group_id, topic.name, 2 + len(poison)))
    letters = [
        DeadLetter.model_validate_json(record.value)  # type: ignore[attr-defined]
        for record in await read_all(bootstrap, DEAD_LETTERS.name)
    ]
    own = sorted((letter for letter in letters if letter.topic == topic.name), key=lambda letter: letter.offset)
    assert [(letter.reason, letter.value) for letter in own] == [(reason, fields["value"]) for fields, reason in poison]
    assert [(header.name, header.value) for header in own[5].headers][-1] == ("x", None)


async def test_a_stopped_workspace_waits_for_a_restart_and_the_others_do_not(
    start: Start, publisher: Publisher, topic: Topic[RawEvent], bootstrap: str
) -> None:
    effects = Effects()
    bad = [f"bad{number}" for number in range(10)]
    effects.poison = frozenset(bad)
    worker = worker_on(topic, effects)
    runtime = await start(worker, ceiling=3)
    await publish(publisher, topic, bad)
    await eventually(lambda: any("workspace acme stopped" in fault for fault in runtime.faults()))
    good = [f"good{number}" for number in range(10)]
    await publish(publisher, topic, good, workspace="globex")
    await eventually(lambda: set(good) <= set(effects.seen))
    await start.stop(runtime)  # type: ignore[attr-defined]
    assert not set(bad) & set(effects.seen)
    effects.poison = frozenset()
    await start(worker)
    await eventually(lambda: committed_is(bootstrap, worker.group_id, topic.name, 20))
    # Three are dead letters; of those again what shared an unfinished batch with the one that was left.
    assert len(set(bad) & set(effects.seen)) >= 7


async def test_whoever_waits_for_what_is_dead_lettered_is_told(
    start: Start, publisher: Publisher, topic: Topic[RawEvent], bootstrap: str
) -> None:
    echo = topic_of_its_own()
    await create(bootstrap, new(echo))
    worker: Worker[Effects] = Worker(f"tester-{topic.name}", tools=worker_on(topic, Effects()).tools)

    @worker.handles_each(topic, 4, buried=lambda delivery: [Outgoing(echo, delivery.body, cause=delivery)])
    async def handle(delivery: Delivery[RawEvent], _: Effects) -> Iterable[Outgoing]:
        if delivery.body.delivery == "bug":
            raise ZeroDivisionError
        if delivery.body.delivery == "refused":
            raise Permanent(Reason.REFUSED_BY_SINK, "no")
        return []

    await publish(publisher, topic, ["a", "bug", "refused", "b"])
    await start(worker)
    await eventually(lambda: committed_is(bootstrap, worker.group_id, topic.name, 4), within=20)
    told = [RawEvent.model_validate_json(record.value) for record in await read_all(bootstrap, echo.name)]  # type: ignore[attr-defined]
    assert sorted(body.delivery for body in told) == ["bug", "refused"]
    letters = [
        DeadLetter.model_validate_json(record.value)  # type: ignore[attr-defined]
        for record in await read_all(bootstrap, DEAD_LETTERS.name)
    ]
    assert {each.reason for each in letters if each.topic == topic.name} == {
        Reason.HANDLER_ERROR,
        Reason.REFUSED_BY_SINK,
    }


async def test_a_dependency_that_comes_back_loses_nothing(
    start: Start, publisher: Publisher, topic: Topic[RawEvent]
) -> None:
    effects = Effects()
    effects.fail_once = {"b": Transient("qdrant", "down")}
    await publish(publisher, topic, ["a", "b", "c"])
    await start(worker_on(topic, effects))
    await eventually(lambda: effects.seen.keys() == {"a", "b", "c"}, within=20)


async def test_what_a_handler_returns_is_published_with_its_cause(
    start: Start, publisher: Publisher, topic: Topic[RawEvent], bootstrap: str
) -> None:
    effects = Effects()
    trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    body = raw_event("traced")
    envelope = new_envelope(body, id=deterministic_id("test", topic.name), source="src_a", trace=trace)
    await publisher.publish(topic, body, envelope)
    echo = topic_of_its_own()
    await create(bootstrap, new(echo))
    await start(worker_on(topic, effects, echo=echo))

    async def echoed() -> dict[str, bytes] | None:
        for record in await read_all(bootstrap, echo.name):
            headers = dict(record.headers)  # type: ignore[attr-defined]
            if headers.get("cause") == str(envelope.id).encode():
                return headers
        return None

    headers = await eventually(echoed, within=20)
    assert headers is not None
    assert headers["workspace"] == b"acme"
    assert trace["traceparent"].split("-")[1].encode() in headers["traceparent"]


async def test_members_that_come_and_go_lose_nothing(
    start: Start, publisher: Publisher, topic: Topic[RawEvent], bootstrap: str
) -> None:
    effects = Effects()
    worker = worker_on(topic, effects)
    first = await start(worker)
    await publish(publisher, topic, [f"a{number}" for number in range(50)])
    await start(worker)
    await publish(publisher, topic, [f"b{number}" for number in range(50)])
    await start.stop(first)  # type: ignore[attr-defined]
    await publish(publisher, topic, [f"c{number}" for number in range(50)])
    await eventually(lambda: len(effects.seen) == 150, within=40)
    await eventually(lambda: committed_is(bootstrap, worker.group_id, topic.name, 150))


async def test_a_stop_that_meets_a_rebalance_gives_each_partition_up_once(
    start: Start, publisher: Publisher, topic: Topic[RawEvent], bootstrap: str
) -> None:
    effects = Effects()
    worker = worker_on(topic, effects)
    runtime = await start(worker)
    await publish(publisher, topic, [f"a{number}" for number in range(30)])
    await eventually(lambda: len(effects.seen) == 30, within=20)
    partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
    revoking = asyncio.create_task(runtime.give_up(partitions, 5.0))
    await start.stop(runtime)  # type: ignore[attr-defined]
    await revoking
    await eventually(lambda: committed_is(bootstrap, worker.group_id, topic.name, 30))


async def test_a_publication_to_an_unreachable_broker_fails_in_time(objects: ObjectStore) -> None:
    publisher = await Publisher.open(["127.0.0.1:1"], objects, patience_s=1)
    body = raw_event()
    async with asyncio.timeout(30):
        with pytest.raises(Transient, match="kafka"):
            await publisher.publish(topic_of_its_own(), body, new_envelope(body, id=body.event_id, source="s"))
    await publisher.close()


async def test_a_worker_that_starts_before_its_broker_waits_for_it(
    publisher: Publisher,
    topic: Topic[RawEvent],
    bootstrap: str,
    objects: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts: list[int] = []

    class Counted(Backoff):
        def delay(self, attempt: int) -> float:
            attempts.append(attempt)
            return 0.05

    monkeypatch.setattr(running_of, "Backoff", Counted)
    effects = Effects()
    await publish(publisher, topic, ["early"])
    async with proxied(int(bootstrap.rpartition(":")[2])) as proxy:
        await proxy.refuse()
        reached = [f"127.0.0.1:{proxy.port}"]
        runtime = Runtime(worker_on(topic, effects), reached, publisher, objects, timing=QUICK)
        running = asyncio.create_task(runtime.run())
        await eventually(lambda: len(attempts) >= 3, within=10)
        assert not running.done()
        assert runtime.faults() == ["not in its consumer group yet"]
        await proxy.accept()
        await eventually(lambda: effects.seen == Counter(early=1), within=20)
        runtime.stop()
        await running


async def test_a_named_instance_comes_back_to_its_partitions_without_waiting_for_the_session(
    publisher: Publisher, topic: Topic[RawEvent], bootstrap: str, objects: ObjectStore
) -> None:
    effects = Effects()
    worker = worker_on(topic, effects)
    slow = Timing(session_s=60, heartbeat_s=0.2, poll_s=0.1)
    for name in ("first", "second"):
        runtime = Runtime(worker, [bootstrap], publisher, objects, timing=slow, instance="one")
        running = asyncio.create_task(runtime.run())
        await publish(publisher, topic, [name])
        # A successor under another name would get nothing before the session of 60 s ends.
        await eventually(lambda: effects.seen[name] == 1, within=20)  # noqa: B023 - awaited in this turn
        runtime.stop()
        await running
        assert await members(bootstrap, worker.group_id) == 1


async def members(bootstrap: str, group: str) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        (described,) = await admin.describe_consumer_groups([group])
    finally:
        await admin.close()
    ((_, _, _, _, _, listed, *_),) = described.groups
    return len(listed)
