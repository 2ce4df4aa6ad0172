"""Topics and workers of a test's own, on the real broker."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic

from infra.kafka.producer import Publisher
from infra.objects.store import ObjectStore
from schemas.raw import RawEvent
from tests.own_topic import create, topic_of_its_own
from topics.catalogue import DEAD_LETTERS, Topic

Kafka = dict[str, str]
PARTITIONS = 3


@pytest.fixture(scope="session")
def bootstrap(kafka: Kafka) -> str:
    return kafka["KAFKA_BOOTSTRAP_SERVERS"]


@pytest.fixture
async def topic(bootstrap: str) -> Topic[RawEvent]:
    """A topic of this test's own; the dead letters exist too."""
    own = topic_of_its_own(PARTITIONS)
    await create(bootstrap, new(own), new(DEAD_LETTERS))
    return own


def new(topic: Topic[Any]) -> NewTopic:
    return NewTopic(topic.name, num_partitions=topic.partitions, replication_factor=1)


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore.open((tmp_path / "objects").as_uri())


@pytest.fixture
async def publisher(bootstrap: str, objects: ObjectStore) -> AsyncIterator[Publisher]:
    opened = await Publisher.open([bootstrap], objects)
    yield opened
    await opened.close()


@pytest.fixture
async def raw_produce(bootstrap: str) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """Produce records past our own publisher, as a broken producer would."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()

    async def produce(topic: str, **fields: object) -> None:
        await producer.send_and_wait(topic, **fields)

    yield produce
    await producer.stop()


async def read_all(bootstrap: str, topic: str) -> list[object]:
    """Return every record now in `topic`."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[object] = []
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                found.extend((await consumer.getmany(partition, timeout_ms=1_000)).get(partition, []))
        return found
    finally:
        await consumer.stop()


async def committed(bootstrap: str, group: str, topic: str) -> int:
    """Return how many records of `topic` the group has committed, over all partitions."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        offsets = [await consumer.committed(TopicPartition(topic, number)) for number in range(PARTITIONS)]
        return sum(offset or 0 for offset in offsets)
    finally:
        await consumer.stop()
