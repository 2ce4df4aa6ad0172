"""The ways of running one stage that `bench.stage` compares, and their input."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter, process_time
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from infra.kafka.codec import Encoded, encode, new_envelope
from infra.kafka.producer import BATCH_BYTES, Publisher
from infra.kafka.runtime import Runtime
from infra.kafka.worker import Delivery, Micro, Outgoing, Worker
from infra.objects.store import ObjectStore
from schemas.ids import event_id
from schemas.raw import RawEvent
from topics.catalogue import Topic

PARTITIONS = 3
DEFAULT_BATCH_BYTES = 16_384
"""aiokafka's own."""
WARM = 20
"""Probes before those that count: connections, metadata, first imports."""


def topic(name: str) -> Topic[RawEvent]:
    """Declare a topic of this run."""
    return Topic(
        name=f"bench.{name}.{uuid4().hex[:8]}",
        body=RawEvent,
        key=lambda event: event.subject,
        partitions=PARTITIONS,
        retention=None,
        compacted=False,
        max_bytes=1_000_000,
        producers=(),
        consumers=(),
        purpose="bench",
    )


def event(number: int) -> RawEvent:
    """Return an event whose record body is about 1 kB."""
    return RawEvent(
        workspace="bench",
        event_id=event_id("bench", "src", str(number)),
        source="src",
        connector="generic",
        delivery=str(number),
        subject=str(number % 997),
        received_at=datetime.now(UTC),
        body=b"x" * 600,
    )


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: wall time and CPU time of this process, from the first records on."""

    seconds: float
    cpu_seconds: float


class Clock:
    """Runs from the first `start` on; further ones change nothing."""

    def __init__(self) -> None:
        self._began: tuple[float, float] | None = None

    def start(self) -> None:
        """Begin, if not begun."""
        if self._began is None:
            self._began = perf_counter(), process_time()

    def read(self) -> Sample:
        """Return the time since the start. Raises RuntimeError if it never came."""
        if self._began is None:
            raise RuntimeError("no record came")
        wall, cpu = self._began
        return Sample(perf_counter() - wall, process_time() - cpu)


class Bench:
    """One input topic filled once; each way of running the stage reads it with a group of its own."""

    def __init__(self, bootstrap: str, objects: ObjectStore, events: int) -> None:
        self.bootstrap = bootstrap
        self.objects = objects
        self.events = events
        self.source = topic("in")
        self.sink = topic("out")

    async def fill(self) -> int:
        """Create the topics, publish the events, return the bytes of one record body."""
        await self._create(self.source, self.sink)
        publisher = await Publisher.open([self.bootstrap], self.objects)
        size = 0
        for first in range(0, self.events, 500):
            records = [await self._record(number) for number in range(first, min(first + 500, self.events))]
            size = len(records[0].value or b"")
            await publisher.send(records)
        await publisher.close()
        return size

    async def bare(self, batch_bytes: int) -> Sample:
        """Run the reference, with batches of up to `batch_bytes`."""
        clock, seen = Clock(), 0
        async with self._clients(self.source, batch_bytes) as (consumer, producer):
            while seen < self.events:
                fetched = await consumer.getmany(timeout_ms=500, max_records=500)
                if fetched:
                    clock.start()
                    seen += await _pass_on(fetched.values(), consumer, producer, self.sink.name)
            return clock.read()

    async def staged(self, *, micro: bool) -> Sample:
        """Run the stage through the delivery runtime until all is published and committed and the group is left."""
        clock, seen, complete = Clock(), 0, asyncio.Event()

        def handled(count: int) -> None:
            nonlocal seen
            clock.start()
            seen += count
            if seen >= self.events:
                complete.set()

        async with self._runtime(self.source, self.sink, handled, micro=micro) as (runtime, running):
            await complete.wait()
            runtime.stop()
            await running
            return clock.read()

    async def bare_hops(self, probes: int) -> list[float]:
        """Send events one at a time through the bare loop; return seconds from acknowledgement to follow-up."""
        source, sink = topic("hop-in"), topic("hop-out")
        await self._create(source, sink)
        async with self._clients(source, BATCH_BYTES) as (consumer, producer):

            async def loop() -> None:
                while True:
                    fetched = await consumer.getmany(timeout_ms=500, max_records=500)
                    await _pass_on(fetched.values(), consumer, producer, sink.name)

            passing = asyncio.create_task(loop())
            try:
                return await self._probe(source, sink, probes)
            finally:
                passing.cancel()
                await asyncio.wait([passing])

    async def staged_hops(self, probes: int, *, micro: bool) -> list[float]:
        """Send events one at a time through the stage; return seconds from acknowledgement to follow-up."""
        source, sink = topic("hop-in"), topic("hop-out")
        await self._create(source, sink)
        async with self._runtime(source, sink, lambda _: None, micro=micro) as (runtime, running):
            try:
                return await self._probe(source, sink, probes)
            finally:
                runtime.stop()
                await running

    async def _probe(self, source: Topic[RawEvent], sink: Topic[RawEvent], probes: int) -> list[float]:
        sender = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True)
        watcher = AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
        await sender.start()
        await watcher.start()
        try:
            partitions = [TopicPartition(sink.name, number) for number in range(PARTITIONS)]
            watcher.assign(partitions)
            await watcher.seek_to_beginning(*partitions)
            times: list[float] = []
            for number in range(WARM + probes):
                name, key, value, headers, _ = await self._record(number, source)
                await sender.send_and_wait(name, value, key=key, headers=headers)
                appended = perf_counter()
                await watcher.getone()
                times.append(perf_counter() - appended)
            return times[WARM:]
        finally:
            await watcher.stop()
            await sender.stop()

    async def _record(self, number: int, into: Topic[RawEvent] | None = None) -> Encoded:
        body = event(number)
        envelope = new_envelope(body, id=body.event_id, source="src")
        return await encode(into or self.source, body, envelope, self.objects)

    async def _create(self, *topics: Topic[RawEvent]) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic(each.name, PARTITIONS, 1) for each in topics])
        await admin.close()

    @asynccontextmanager
    async def _clients(
        self, source: Topic[RawEvent], batch_bytes: int
    ) -> AsyncIterator[tuple[AIOKafkaConsumer, AIOKafkaProducer]]:
        consumer = AIOKafkaConsumer(
            source.name,
            bootstrap_servers=self.bootstrap,
            group_id=f"bare-{uuid4()}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True, max_batch_size=batch_bytes
        )
        await consumer.start()
        await producer.start()
        try:
            yield consumer, producer
        finally:
            await consumer.stop()
            await producer.stop()

    @asynccontextmanager
    async def _runtime(
        self, source: Topic[RawEvent], sink: Topic[RawEvent], handled: Callable[[int], None], *, micro: bool
    ) -> AsyncIterator[tuple[Runtime[Callable[[int], None]], Awaitable[None]]]:
        @asynccontextmanager
        async def tools() -> AsyncIterator[Callable[[int], None]]:
            yield handled

        worker = Worker(f"bench-{uuid4().hex[:8]}", tools=tools)

        async def batch(deliveries: Sequence[Delivery[RawEvent]], handled: Callable[[int], None]) -> Iterable[Outgoing]:
            handled(len(deliveries))
            return [Outgoing(sink, delivery.body, cause=delivery) for delivery in deliveries]

        async def single(delivery: Delivery[RawEvent], handled: Callable[[int], None]) -> Iterable[Outgoing]:
            return await batch([delivery], handled)

        if micro:
            worker.handles(source, Micro(records=500))(batch)
        else:
            worker.handles_each(source, concurrency=16)(single)
        publisher = await Publisher.open([self.bootstrap], self.objects)
        runtime = Runtime(worker, [self.bootstrap], publisher, self.objects)
        try:
            yield runtime, asyncio.create_task(runtime.run())
        finally:
            await publisher.close()


async def _pass_on(
    fetched: Iterable[Sequence[object]], consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, sink: str
) -> int:
    """Publish what was fetched, wait for all acknowledgements, commit; return how many."""
    waiting = [
        await producer.send(sink, record.value, key=record.key, headers=list(record.headers))
        for records in fetched
        for record in records
    ]
    if waiting:
        await asyncio.gather(*waiting)
        await consumer.commit()
    return len(waiting)
