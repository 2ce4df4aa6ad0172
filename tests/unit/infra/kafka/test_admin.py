from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import TopicAuthorizationFailedError, UnknownTopicOrPartitionError

from infra.kafka.admin import AdminError, _read


class Brokers:
    """Stands for two brokers in the moment in which only one has heard of a topic: no real ones can be held there."""

    def __init__(self, **answers: int) -> None:
        self.answers = answers

    async def describe_topics(self) -> list[dict[str, Any]]:
        partitions = [{"replicas": [1, 2, 3]}]
        return [{"topic": name, "is_internal": False, "partitions": partitions} for name in self.answers]

    async def describe_configs(self, _: Sequence[object]) -> list[SimpleNamespace]:
        entries = [("cleanup.policy", "compact", False, 1)]
        return [SimpleNamespace(resources=[(code, "", 2, name, entries) for name, code in self.answers.items()])]


async def read(brokers: Brokers) -> list[str]:
    return sorted(await _read(cast(AIOKafkaAdminClient, brokers)))


async def test_a_topic_that_one_broker_does_not_know_yet_is_not_there_yet() -> None:
    assert await read(Brokers(old=0, new=UnknownTopicOrPartitionError.errno)) == ["old"]


async def test_what_a_broker_refuses_to_tell_is_an_error() -> None:
    with pytest.raises(AdminError, match="secret"):
        await read(Brokers(old=0, secret=TopicAuthorizationFailedError.errno))
