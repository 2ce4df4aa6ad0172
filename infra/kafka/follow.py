"""Reads the whole of a topic without a consumer group: every process hears every record.

For short-lived hints that must reach whichever process is concerned, such as cancels: nothing is committed, and after a
start or a lost connection the last `back_s` seconds are read again. What hears them must not mind to hear them twice.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Generic, Self, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from infra.ending import end
from infra.errors import Permanent, Transient
from infra.kafka.codec import Record, decode
from infra.kafka.connection import check_fetching
from infra.kafka.retry import Backoff
from infra.kafka.worker import Delivery
from infra.objects.store import ObjectStore
from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, count
from schemas.event import Event, now
from topics.catalogue import Topic

Body = TypeVar("Body", bound=Event)
log = logger(__name__)

POLL_MS = 500
"""How often a consumer that has stopped to fetch is looked for; records themselves wake the poll."""


class Follower(Generic[Body]):
    """Follows one topic and hands over each event; what is no valid event is counted and left out."""

    def __init__(
        self,
        bootstrap: Sequence[str],
        topic: Topic[Body],
        objects: ObjectStore,
        hear: Callable[[Delivery[Body]], None],
        back_s: float,
    ) -> None:
        self._bootstrap = list(bootstrap)
        self._topic = topic
        self._objects = objects
        self._hear = hear
        self._back_s = back_s
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    @classmethod
    async def open(
        cls,
        bootstrap: Sequence[str],
        topic: Topic[Body],
        objects: ObjectStore,
        hear: Callable[[Delivery[Body]], None],
        *,
        back_s: float = 0,
    ) -> Self:
        """Start to read what was published in the last `back_s` seconds and all that comes. Returns at once."""
        follower = cls(bootstrap, topic, objects, hear, back_s)
        follower._task = asyncio.create_task(follower._read(), name=f"follow {topic.name}")
        return follower

    async def wait_ready(self) -> None:
        """Return when what was there at the start has been heard. Waits for as long as the broker is away."""
        await self._ready.wait()

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            await end(self._task)

    async def _read(self) -> None:
        attempt = 0
        while True:
            consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False, fetch_min_bytes=1)
            try:
                await consumer.start()
                ends = await self._find_start(consumer)
                attempt = 0
                while True:
                    if not self._ready.is_set() and await self._is_past(consumer, ends):
                        self._ready.set()
                    for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                        for record in records:
                            await self._take(record)
                    check_fetching(consumer)
            except (KafkaError, RuntimeError) as error:
                attempt += 1
                self._ready.clear()
                log.warning("cannot follow a topic", topic=self._topic.name, cause=type(error).__name__)
                await asyncio.sleep(Backoff().delay(attempt))
            finally:
                await consumer.stop()

    async def _find_start(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        """Go to where reading begins; return where each partition ends."""
        partitions = [TopicPartition(self._topic.name, number) for number in range(self._topic.partitions)]
        consumer.assign(partitions)
        since = round((now() - timedelta(seconds=self._back_s)).timestamp() * 1_000)
        found: dict[TopicPartition, Any] = await consumer.offsets_for_times(dict.fromkeys(partitions, since))
        for partition in partitions:
            if found.get(partition) is not None:
                consumer.seek(partition, found[partition].offset)
            else:
                await consumer.seek_to_end(partition)
            await consumer.position(partition)
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        return ends

    async def _is_past(self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> bool:
        return all([await consumer.position(partition) >= end for partition, end in ends.items()])

    async def _take(self, record: Record) -> None:
        try:
            delivery = await decode(record, self._topic, self._objects)
        except (Permanent, Transient) as error:
            count(Metric.RECORDS_TOTAL, "follower", self._topic.name, "skipped")
            log.warning("unreadable record", topic=self._topic.name, offset=record.offset, cause=str(error))
            return
        if delivery is not None:
            self._hear(delivery)
