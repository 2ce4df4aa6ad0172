"""Members of a group that sleep, block, come and go: what they did late is refused or harmless."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from infra.kafka.codec import new_envelope
from infra.kafka.runtime import Runtime
from infra.kafka.timing import Timing
from infra.kafka.worker import Delivery, Micro, Outgoing, Worker
from infra.telemetry.metrics import REGISTRY
from schemas.raw import RawEvent
from tests.events import raw_event
from tests.eventually import block, eventually, lapse
from tests.faults.arena import Arena, corpus
from tests.faults.invariants import C, L, O, R
from tests.faults.running import Running, hosting
from tests.faults.test_sinks import holds, settled
from tests.own_topic import create, topic_of_its_own
from topics.catalogue import Topic

SHORT = Timing(session_s=2, heartbeat_s=0.3, poll_s=0.1, rebalance_s=6, revoke_grace_s=2)


def counted(name: str, **labels: str) -> float:
    """Return a metric of this process."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(generate_latest(REGISTRY).decode())
        for sample in family.samples
        if sample.name == f"millrace_{name}" and labels.items() <= sample.labels.items()
    )


@dataclass
class Effects:
    """A sink of a test's own: what was done, and how long each handling takes."""

    seen: Counter[str] = field(default_factory=Counter)
    slow_s: float = 0
    block_s: float = 0
    """Holds the event loop itself, once."""

    async def take(self, deliveries: Sequence[Delivery[RawEvent]]) -> None:
        if self.block_s:
            seconds, self.block_s = self.block_s, 0
            block(seconds)
        if self.slow_s:
            await lapse(self.slow_s)
        for delivery in deliveries:
            self.seen[str(delivery.body.event_id)] += 1


@dataclass
class Group:
    """A consumer group of a test's own on a topic of its own, with members in this process."""

    arena: Arena
    topic: Topic[RawEvent]
    name: str
    stack: AsyncExitStack

    @asynccontextmanager
    async def member(self, effects: Effects, timing: Timing = SHORT) -> AsyncIterator[Runtime[Effects]]:
        @asynccontextmanager
        async def tools() -> AsyncIterator[Effects]:
            yield effects

        worker = Worker(self.name, tools=tools)

        @worker.handles(self.topic, Micro(records=4))
        async def handle(deliveries: Sequence[Delivery[RawEvent]], tools: Effects) -> Iterable[Outgoing]:
            await tools.take(deliveries)
            return ()

        runtime = Runtime(
            worker,
            self.arena.cluster.bootstrap.split(","),
            self.arena.publisher,
            self.arena.sinks.objects,
            timing=timing,
        )
        task = asyncio.create_task(runtime.run())
        try:
            yield runtime
        finally:
            runtime.stop()
            await task

    async def send(self, names: Iterable[str]) -> set[str]:
        sent = set()
        for name in names:
            body = raw_event(name, subject=name, workspace=self.name)
            await self.arena.publisher.publish(self.topic, body, new_envelope(body, id=body.event_id, source="s"))
            sent.add(str(body.event_id))
        return sent

    async def committed(self) -> int:
        return sum((await self.arena.sinks.committed(f"millrace.{self.name}", self.topic)).values())

    async def holds_c(self, effects: Effects) -> None:
        await C(self.arena.sinks, f"millrace.{self.name}", self.topic, set(effects.seen))


@pytest.fixture
async def group(arena: Arena) -> AsyncIterator[Group]:
    name = f"g{uuid4().hex[:10]}"
    topic = topic_of_its_own(3)
    await create(arena.cluster.direct, NewTopic(topic.name, num_partitions=3, replication_factor=1))
    async with AsyncExitStack() as stack:
        yield Group(arena, topic, name, stack)


@pytest.mark.fault(13)
async def test_a_handler_longer_than_the_grace_period_is_delivered_again(group: Group) -> None:
    sent = await group.send(f"e{number}" for number in range(6))
    slow = Effects(slow_s=60)
    async with group.member(slow, Timing(session_s=2, heartbeat_s=0.3, poll_s=0.1, stop_grace_s=0.5)) as runtime:
        await eventually(lambda: sum(lane.held for lane in runtime._lanes.values()) > 0, within=20)
    assert not slow.seen
    await group.holds_c(slow)
    effects = Effects()
    async with group.member(effects):
        await eventually(lambda: set(effects.seen) == sent, within=20)


@pytest.mark.fault(15)
@pytest.mark.slow
async def test_members_that_come_and_go_every_two_seconds(group: Group) -> None:
    effects = Effects(slow_s=0.05)
    sent: set[str] = set()
    async with group.member(effects):
        for turn in range(5):
            sent |= await group.send(f"t{turn}-{number}" for number in range(30))
            async with group.member(effects):
                await lapse(2)
                await group.holds_c(effects)
        await eventually(lambda: set(effects.seen) == sent, within=60)
        await eventually(lambda: all_committed(group, len(sent)), within=20)
    # Repeated work is allowed, loss is not; most was done once.
    assert sum(effects.seen.values()) < 2 * len(sent)


async def all_committed(group: Group, expected: int) -> bool:
    return await group.committed() == expected


@pytest.mark.fault(16)
@pytest.mark.slow
async def test_a_handler_slower_than_the_session_keeps_its_partitions(group: Group) -> None:
    sent = await group.send(f"e{number}" for number in range(6))
    # Polling and heartbeats go on beside the handler, so the session of 2 s does not end.
    effects = Effects(slow_s=5)
    async with group.member(effects):
        await eventually(lambda: set(effects.seen) == sent, within=40)
        await eventually(lambda: all_committed(group, 6), within=10)
    assert set(effects.seen.values()) == {1}


@pytest.mark.fault(17, 18)
async def test_a_blocked_loop_loses_its_partitions_and_its_late_commit(
    group: Group, arena: Arena, workspace: str
) -> None:
    """The member runs in this process; the group gives its partitions away while the loop stands still."""
    before = counted("commits_total", worker=group.name, outcome="refused")
    effects = Effects(block_s=6)
    sent = await group.send(f"e{number}" for number in range(6))
    async with group.member(effects):
        await eventually(lambda: set(effects.seen) == sent, within=40)
        await eventually(lambda: all_committed(group, 6), within=20)
        await group.holds_c(effects)
    assert counted("commits_total", worker=group.name, outcome="refused") > before


@pytest.mark.fault(17)
async def test_a_frozen_host_fails_its_liveness_probe(arena: Arena, mill: Running) -> None:
    assert (await mill.health("live"))[0] == 200
    mill.freeze()
    try:
        assert (await mill.health("live", within=1))[0] == 0
    finally:
        mill.thaw()
    await mill.ready()


@pytest.mark.fault(17)
@pytest.mark.slow
async def test_a_lane_that_stands_still_turns_liveness_red(arena: Arena, workspace: str) -> None:
    told = arena.environment | {
        "MILLRACE_FAILPOINTS": "after_decode@graph_builder=pause",
        "MILLRACE_STALLED_AFTER_S": "2",
    }
    async with hosting(told, arena.folder, "graph_builder") as running:
        versions = itertools.count(1)

        async def red() -> bool:
            # The shared workers are members too: new versions until this one has some of them.
            await arena.put(*corpus(workspace, 10, version=next(versions)))
            status, body = await running.health("live")
            return status == 503 and "stuck" in str(body)

        await eventually(red, within=30, every=0.5)


@pytest.mark.fault(14, 18)
@pytest.mark.slow
async def test_a_zombie_writes_nothing_stale(arena: Arena, mill: Running, workspace: str, calm: str) -> None:
    """The workers sleep past their session with records in hand; others go on; then they wake."""
    await arena.proxies["door"].refuse()
    await arena.proxies["neo4j"].refuse()
    await arena.put(*corpus(workspace, 10))
    await eventually(lambda: in_hand(mill), within=20)
    mill.freeze()
    try:
        await arena.proxies["door"].heal()
        await arena.proxies["neo4j"].heal()
        newer = corpus(workspace, 10, version=2)
        await arena.put(*newer)
        async with hosting(arena.environment, arena.folder, "embedder", "graph_builder", "ledger"):
            await eventually(lambda: holds(arena.sinks, newer), within=40)
            mill.thaw()
            await mill.ready()
            await lapse(3)
            await L(arena.sinks, newer)
    finally:
        mill.thaw()
    async with R(30) as recovery:
        await recovery.until(lambda: arena.receipts(newer, "embedder/main"))
    await settled(arena, calm, 10, version=2)
    await O(arena.sinks, workspace, calm)


async def in_hand(mill: Running) -> bool:
    return await mill.metric("in_flight", worker="embedder") > 0


@pytest.mark.fault(47)
async def test_records_deleted_unread_raise_an_alarm(group: Group, arena: Arena) -> None:
    first = await group.send(f"a{number}" for number in range(6))
    effects = Effects()
    async with group.member(effects):
        await eventually(lambda: set(effects.seen) == first, within=20)
        await eventually(lambda: all_committed(group, 6), within=10)
    await group.send(f"b{number}" for number in range(12))
    admin = AIOKafkaAdminClient(bootstrap_servers=arena.cluster.direct)
    await admin.start()
    try:
        ends = await arena.sinks.ends(group.topic)
        lost = {TopicPartition(group.topic.name, number): RecordsToDelete(end) for number, end in ends.items()}
        await admin.delete_records(lost)
    finally:
        await admin.close()
    last = await group.send(f"c{number}" for number in range(3))
    async with group.member(effects):
        await eventually(lambda: set(effects.seen) >= first | last, within=20)
    assert counted("records_lost_total", worker=group.name, topic=group.topic.name) == 12
