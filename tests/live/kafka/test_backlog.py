"""A worker with more waiting than it may hold, on a real broker."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from infra.kafka.codec import encode, new_envelope
from infra.kafka.producer import Publisher
from infra.kafka.room import Limits
from infra.kafka.runtime import Runtime
from infra.kafka.timing import Timing
from infra.kafka.worker import Delivery, Micro, Outgoing, Worker
from infra.objects.store import ObjectStore
from schemas.raw import RawEvent
from tests.events import raw_event
from tests.eventually import eventually, lapse
from topics.catalogue import Topic

RECORDS = 4_000


async def test_a_backlog_is_worked_off_within_the_room(
    bootstrap: str, publisher: Publisher, objects: ObjectStore, topic: Topic[RawEvent]
) -> None:
    bodies = [raw_event(f"e{number}", subject=str(number)) for number in range(RECORDS)]
    await publisher.send(
        [await encode(topic, body, new_envelope(body, id=body.event_id, source="src_a"), objects) for body in bodies]
    )
    seen: set[str] = set()
    most = 0

    @asynccontextmanager
    async def tools() -> AsyncIterator[None]:
        yield None

    worker = Worker(f"tester-{topic.name}", tools=tools)

    @worker.handles(topic, Micro(records=100))
    async def handle(deliveries: Sequence[Delivery[RawEvent]], tools: None) -> Iterable[Outgoing]:
        nonlocal most
        most = max(most, sum(lane.held for lane in runtime._lanes.values()))
        seen.update(delivery.body.delivery for delivery in deliveries)
        await lapse(0.03)
        return ()

    timing = Timing(session_s=6, heartbeat_s=0.2, poll_s=0.1)
    runtime = Runtime(worker, [bootstrap], publisher, objects, limits=Limits(records=200), timing=timing)
    running = asyncio.create_task(runtime.run())
    try:
        await eventually(lambda: len(seen) == RECORDS, within=20)
    finally:
        runtime.stop()
        await running
    assert 200 // 4 < most <= 2 * 200 + 200 // 4
