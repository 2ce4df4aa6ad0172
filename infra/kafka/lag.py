"""How far a consumer group has read, without being a member of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from infra.errors import Transient
from topics.catalogue import Topic


@dataclass(frozen=True, slots=True)
class Reach:
    """Of one partition: `committed` is the next offset that the group will read (0: none yet), `end` the log's."""

    committed: int
    end: int

    @property
    def behind(self) -> int:
        """Records not read yet."""
        return max(0, self.end - self.committed)


async def reach(bootstrap: Sequence[str], group: str, topics: Sequence[Topic[Any]]) -> dict[str, dict[int, Reach]]:
    """Return by topic and partition how far `group` has come. Raises Transient("kafka")."""
    consumer = AIOKafkaConsumer(bootstrap_servers=list(bootstrap), group_id=group, enable_auto_commit=False)
    try:
        await consumer.start()
        places = [TopicPartition(topic.name, number) for topic in topics for number in range(topic.partitions)]
        ends = await consumer.end_offsets(places)
        found: dict[str, dict[int, Reach]] = {topic.name: {} for topic in topics}
        for place in places:
            committed = await consumer.committed(place)
            found[place.topic][place.partition] = Reach(committed or 0, ends[place])
    except (KafkaError, OSError) as error:
        raise Transient("kafka", f"offsets of {group}: {type(error).__name__}") from error
    else:
        return found
    finally:
        await consumer.stop()
