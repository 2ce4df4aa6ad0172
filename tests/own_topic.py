"""A topic of a test's own on a real broker."""

from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from schemas.raw import RawEvent
from topics.catalogue import Topic


def topic_of_its_own(partitions: int = 3) -> Topic[RawEvent]:
    """Declare a topic that no other test knows."""
    return Topic(
        name=f"test.{uuid4().hex}",
        body=RawEvent,
        key=lambda event: event.subject,
        partitions=partitions,
        retention=None,
        compacted=False,
        max_bytes=100_000,
        producers=(),
        consumers=(),
        purpose="a test",
    )


async def create(bootstrap: str, *topics: NewTopic) -> None:
    """Create those of `topics` that are not there yet."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        known = await admin.list_topics()
        await admin.create_topics([topic for topic in topics if topic.name not in known])
    finally:
        await admin.close()
