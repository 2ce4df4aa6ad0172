"""What is committed while some of it is at work, what comes of repetition, and what the ledger makes of disorder."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import httpx
import pytest
from aiokafka.admin import NewTopic

from infra.kafka.codec import new_envelope
from infra.kafka.failpoints import Point
from infra.kafka.runtime import Runtime
from infra.kafka.timing import Timing
from infra.kafka.worker import Delivery, Each, Micro, Outgoing, Worker
from schemas.documents import DocumentVersion
from schemas.raw import RawEvent
from tests.events import document, raw_event
from tests.eventually import eventually, lapse
from tests.faults.arena import Arena, note
from tests.faults.invariants import C
from tests.faults.running import Running, ending, host, hosting
from tests.flow.tenant import Tenant
from tests.own_topic import create, topic_of_its_own
from topics.catalogue import DOCUMENTS, RAW_EVENTS, RECEIPTS, Topic

TIMING = Timing(session_s=2, heartbeat_s=0.3, poll_s=0.1, stop_grace_s=0.2)


@dataclass
class Line:
    """A topic of one partition, a group that reads it, and what its members have done."""

    arena: Arena
    topic: Topic[RawEvent]
    name: str
    seen: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    """Deliveries whose handling does not end."""

    async def take(self, deliveries: Sequence[Delivery[RawEvent]]) -> None:
        for delivery in deliveries:
            if delivery.body.delivery in self.held:
                await asyncio.Event().wait()
            self.seen.add(str(delivery.body.event_id))

    @asynccontextmanager
    async def member(self, mode: Micro | Each) -> AsyncIterator[None]:
        """Run a member; at the end it gives up what does not end in time, as a kill would."""

        @asynccontextmanager
        async def tools() -> AsyncIterator["Line"]:
            yield self

        worker: Worker[Line] = Worker(self.name, tools=tools)
        if isinstance(mode, Micro):

            @worker.handles(self.topic, mode)
            async def handle(deliveries: Sequence[Delivery[RawEvent]], line: Line) -> Iterable[Outgoing]:
                await line.take(deliveries)
                return ()
        else:

            @worker.handles_each(self.topic, mode.concurrency)
            async def handle_one(delivery: Delivery[RawEvent], line: Line) -> Iterable[Outgoing]:
                await line.take([delivery])
                return ()

        runtime = Runtime(
            worker,
            self.arena.cluster.direct.split(","),
            self.arena.publisher,
            self.arena.sinks.objects,
            timing=TIMING,
        )
        task = asyncio.create_task(runtime.run())
        try:
            yield
        finally:
            runtime.stop()
            await task

    async def send(self, *names: str) -> set[str]:
        bodies = [raw_event(name, subject=name, workspace=self.name) for name in names]
        for body in bodies:
            await self.arena.publisher.publish(self.topic, body, new_envelope(body, id=body.event_id, source="s"))
        return {str(body.event_id) for body in bodies}

    async def committed(self) -> int:
        return sum((await self.arena.sinks.committed(f"millrace.{self.name}", self.topic)).values())

    async def has_committed(self, records: int) -> bool:
        found = await self.committed()
        assert found == records, f"{found} records are committed"
        return True

    async def holds_c(self) -> None:
        await C(self.arena.sinks, f"millrace.{self.name}", self.topic, self.seen)


@pytest.fixture
async def line(arena: Arena) -> Line:
    name = f"l{uuid4().hex[:10]}"
    topic = topic_of_its_own(1)
    await create(arena.cluster.direct, NewTopic(topic.name, num_partitions=1, replication_factor=1))
    return Line(arena, topic, name)


@pytest.mark.fault(10)
async def test_what_is_fetched_and_not_handled_is_not_committed(line: Line) -> None:
    """The group's position runs ahead of the work: only what is finished may be committed, whatever was fetched."""
    line.held = {f"held-{number}" for number in range(4)}
    sent = await line.send(*(f"first-{number}" for number in range(8)), *sorted(line.held), "last")
    async with line.member(Micro(records=4)):
        await eventually(lambda: line.has_committed(8), within=15)
        await line.holds_c()
    line.held = set()
    async with line.member(Micro(records=4)):
        await eventually(lambda: line.has_committed(len(sent)), within=15)
    assert line.seen == sent


@pytest.mark.fault(10)
async def test_a_record_that_is_overtaken_is_not_committed(line: Line) -> None:
    """Records of other keys pass the one at work; the commit waits for it, and a restart delivers it again."""
    line.held = {"slow"}
    sent = await line.send("before", "slow", *(f"fast-{number}" for number in range(6)))
    async with line.member(Each(concurrency=4)):
        await eventually(lambda: len(line.seen) == len(sent) - 1, within=15)
        # Several rounds of the committer: nothing but the first record may ever be committed.
        await lapse(0.5)
        await line.holds_c()
        await eventually(lambda: line.has_committed(1))
    line.held = set()
    async with line.member(Each(concurrency=4)):
        await eventually(lambda: line.has_committed(len(sent)), within=15)
    assert line.seen == sent


@pytest.mark.fault(11)
@pytest.mark.usefixtures("nothing_left")
async def test_what_is_published_again_is_the_same_event(arena: Arena, workspace: str) -> None:
    """Killed between publishing and committing: the second time every event has the id that it had the first time."""
    await arena.accept(*(note(workspace, f"n{number}", f"Note {number} of the mill.") for number in range(6)))
    told = arena.environment | {"MILLRACE_FAILPOINTS": f"{Point.AFTER_PUBLISH}@normalizer=kill:1"}
    dying = host(told, arena.folder, "normalizer")
    async with ending(dying):
        await eventually(lambda: not dying.lives, within=60, every=0.1)
    async with hosting(arena.environment, arena.folder, "normalizer"):
        await eventually(lambda: arena.done("millrace.normalizer", RAW_EVENTS), within=30, every=0.2)
    for topic in (DOCUMENTS, RECEIPTS):
        ids = [
            headers["ce_id"]
            for record in await arena.sinks.records(topic)
            if (headers := dict(record.headers)).get("workspace") == workspace.encode()
        ]
        assert len(ids) > 6, "nothing was published twice: the kill came too early"
        assert len(set(ids)) == 6, f"{topic.name}: {len(set(ids))} events of 6 deliveries"


@pytest.mark.fault(19)
async def test_a_webhook_repeated_side_by_side_is_one_event(
    arena: Arena, mill: Running, door: Running, workspace: str
) -> None:
    headers = {"authorization": f"Bearer {await arena.key(workspace)}"}
    async with httpx.AsyncClient(base_url=door.url, headers=headers, timeout=30) as client:
        source = await Tenant(workspace, client).source("generic")
        page = {"id": "repeated", "text": "A page that is announced again and again."}
        ids = await asyncio.gather(*(source.accepted(page, "one-delivery") for _ in range(30)))
    assert len(set(ids)) == 1
    await eventually(lambda: arena.done("millrace.normalizer", RAW_EVENTS), within=30, every=0.2)
    assert len(await arena.sinks.bodies(DOCUMENTS, workspace)) == 1


@pytest.mark.fault(20, 21)
async def test_the_ledger_keeps_the_newest_state_of_a_document(arena: Arena, mill: Running, workspace: str) -> None:
    def state(name: str, version: int, text: str) -> DocumentVersion:
        return document(text, version=version, workspace=workspace, external_id=name)

    newest = [state("changed", 5, "The newest text."), state("removed", 5, "")]
    stale = [state(name, version, f"Version {version}.") for version in (3, 1, 4) for name in ("changed", "removed")]
    for versions in (newest, stale):
        await arena.put(*versions)
        # In batches of their own: within one batch the newest is chosen before anything is written.
        await eventually(lambda: arena.done("millrace.ledger", DOCUMENTS), within=30, every=0.2)
    rows = await arena.sinks.pool.fetch(
        "select external_id, version, deleted, text from documents where workspace = $1 order by external_id", workspace
    )
    assert [tuple(row) for row in rows] == [("changed", 5, False, "The newest text."), ("removed", 5, True, "")]
