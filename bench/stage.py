"""Events per second through one worker stage, against a bare aiokafka loop doing the same bytes in the same run.

    KAFKA_BOOTSTRAP_SERVERS=host:port python -m bench.stage [--events 20000] [--rounds 3]

A stage consumes, validates, decides, publishes one event per event, and commits. The reference does the same with
nothing but aiokafka: getmany(500), send, flush, commit, no validation. Figures are the median of the rounds with their
range; machines are noisy, so read the ratios.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from infra.kafka.codec import encode, new_envelope
from infra.kafka.producer import Publisher
from infra.kafka.runtime import Runtime
from infra.kafka.worker import Delivery, Micro, Outgoing, Worker
from infra.objects.store import ObjectStore
from infra.telemetry import logs
from schemas.ids import event_id
from schemas.raw import RawEvent
from topics.catalogue import Topic

PARTITIONS = 3


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


class Counted:
    """Tells when a stage has seen all events."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.seen = 0
        self.complete = asyncio.Event()

    def add(self, events: int) -> None:
        """Count handled events."""
        self.seen += events
        if self.seen >= self.expected:
            self.complete.set()


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
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic(each.name, PARTITIONS, 1) for each in (self.source, self.sink)])
        await admin.close()
        publisher = await Publisher.open([self.bootstrap], self.objects)
        size = 0
        for first in range(0, self.events, 500):
            records = []
            for number in range(first, min(first + 500, self.events)):
                body = event(number)
                envelope = new_envelope(body, id=body.event_id, source="src")
                records.append(await encode(self.source, body, envelope, self.objects))
            size = len(records[0].value or b"")
            await publisher.send(records)
        await publisher.close()
        return size

    async def bare(self) -> float:
        """Run the reference; return seconds."""
        consumer = AIOKafkaConsumer(
            self.source.name,
            bootstrap_servers=self.bootstrap,
            group_id=f"bare-{uuid4()}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True)
        await consumer.start()
        await producer.start()
        started, seen = 0.0, 0
        while seen < self.events:
            fetched = await consumer.getmany(timeout_ms=500, max_records=500)
            started = started or perf_counter()
            waiting = [
                await producer.send(self.sink.name, record.value, key=record.key, headers=list(record.headers))
                for records in fetched.values()
                for record in records
            ]
            await asyncio.gather(*waiting)
            seen += len(waiting)
            await consumer.commit()
        took = perf_counter() - started
        await consumer.stop()
        await producer.stop()
        return took

    async def staged(self, micro: bool) -> float:
        """Run the stage through the delivery runtime; return seconds."""
        counted = Counted(self.events)
        started: list[float] = []

        @asynccontextmanager
        async def tools() -> AsyncIterator[Counted]:
            yield counted

        worker = Worker(f"bench-{uuid4().hex[:8]}", tools=tools)

        async def batch(deliveries: Sequence[Delivery[RawEvent]], tools: Counted) -> Iterable[Outgoing]:
            started.append(perf_counter())
            tools.add(len(deliveries))
            return [Outgoing(self.sink, delivery.body, cause=delivery) for delivery in deliveries]

        async def single(delivery: Delivery[RawEvent], tools: Counted) -> Iterable[Outgoing]:
            return await batch([delivery], tools)

        if micro:
            worker.handles(self.source, Micro(records=500))(batch)
        else:
            worker.handles_each(self.source, concurrency=16)(single)
        publisher = await Publisher.open([self.bootstrap], self.objects)
        runtime = Runtime(worker, [self.bootstrap], publisher, self.objects)
        running = asyncio.create_task(runtime.run())
        await counted.complete.wait()
        runtime.stop()
        await running
        took = perf_counter() - started[0]
        await publisher.close()
        return took


async def measure(bench: Bench, rounds: int) -> None:
    """Print events per second of each way, interleaved so that a noisy moment hits all."""
    size = await bench.fill()
    ways: dict[str, Callable[[], Awaitable[float]]] = {
        "bare aiokafka (reference)": bench.bare,
        "stage, micro-batches of 500": lambda: bench.staged(micro=True),
        "stage, single, 16 at once": lambda: bench.staged(micro=False),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            rates[name].append(bench.events / await run())
    reference = statistics.median(rates["bare aiokafka (reference)"])
    print(f"{bench.events} events of {size} bytes, {PARTITIONS} partitions, {rounds} rounds")
    for name, values in rates.items():
        middle = statistics.median(values)
        print(
            f"{name:30} {middle:9,.0f} /s  [{min(values):,.0f} to {max(values):,.0f}]  ratio {middle / reference:.2f}"
        )
    body = event(0)
    text = body.model_dump_json().encode()
    started = perf_counter()
    for _ in range(5_000):
        RawEvent.model_validate_json(text)
    print(f"schema validation of one event  {(perf_counter() - started) / 5_000 * 1e6:.1f} us")


def main() -> None:
    """Parse arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    logs.configure("ERROR")
    with tempfile.TemporaryDirectory() as folder:
        objects = ObjectStore.open(Path(folder).as_uri())
        bench = Bench(os.environ["KAFKA_BOOTSTRAP_SERVERS"], objects, arguments.events)
        asyncio.run(measure(bench, arguments.rounds))


if __name__ == "__main__":
    main()
