"""Reads the broker's topics and carries out a plan of `topics.plan`.

Kafka 4 serves AlterConfigs in its old, whole-set form, which is what aiokafka speaks: the plan's `overrides` therefore
repeat what stands on the topic already.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

from infra.errors import Transient
from infra.settings import KafkaSettings
from topics.catalogue import CATALOGUE, Topic
from topics.plan import AddPartitions, AlterConfigs, Change, Cluster, CreateTopic, Plan, TopicState, plan

DYNAMIC_TOPIC_CONFIG = 1
"""Source of a value set on the topic itself (Kafka protocol, DescribeConfigs, ConfigSource)."""


SETTLE_SECONDS = 15
"""How long a change may take to show; past it the broker counts as not answering."""


class AdminError(Exception):
    """The broker answered and said no; the message holds its reason. Trying again does not help."""


async def compare(settings: KafkaSettings, catalogue: Sequence[Topic[Any]] = CATALOGUE) -> Plan:
    """Return what `apply` would do, changing nothing. Raises Transient("kafka") if no broker answers."""
    async with _admin(settings) as admin:
        return plan(catalogue, await _read(admin), _cluster(settings))


async def describe(settings: KafkaSettings) -> Mapping[str, TopicState]:
    """Return every topic of the broker but Kafka's internal ones. Raises Transient("kafka")."""
    async with _admin(settings) as admin:
        return await _read(admin)


async def apply(settings: KafkaSettings, catalogue: Sequence[Topic[Any]] = CATALOGUE) -> Plan:
    """Bring the broker to the catalogue and return the plan that was carried out; its refusals were left undone.

    Returns when the broker itself shows the changes: the controller acknowledges them a moment earlier, and a producer
    that starts in between finds no topic. Safe to run at once in several processes: a topic that another one has just
    created counts as done.
    Raises Transient("kafka") if no broker answers, AdminError if it refuses a change.
    """
    async with _admin(settings) as admin:
        todo = plan(catalogue, await _read(admin), _cluster(settings))
        await _create(admin, [change for change in todo.changes if isinstance(change, CreateTopic)])
        for change in todo.changes:
            await _alter(admin, change)
        if todo.changes:
            await _settle(admin, catalogue, _cluster(settings))
        return todo


def _cluster(settings: KafkaSettings) -> Cluster:
    return Cluster(settings.replication_factor, settings.min_insync_replicas)


@asynccontextmanager
async def _admin(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=list(settings.bootstrap), request_timeout_ms=15_000)
    try:
        await admin.start()
        yield admin
    except (KafkaError, OSError, TimeoutError) as error:
        raise Transient("kafka", f"topic administration: {type(error).__name__}: {error}") from error
    finally:
        # close() before a successful start would leave the client's connections open: it looks at its own flag only
        await admin._client.close()


async def _read(admin: AIOKafkaAdminClient) -> dict[str, TopicState]:
    """Return the topics that the brokers asked know. One that is just being made or deleted is known to some of them:
    it is left out, as one that is not there yet.
    """
    described = [topic for topic in await admin.describe_topics() if not topic["is_internal"]]
    if not described:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic["topic"]) for topic in described]
    configs: dict[str, dict[str, tuple[str, int]]] = {}
    for response in await admin.describe_configs(resources):
        for code, message, _, name, entries in response.resources:
            if code and for_code(code) is UnknownTopicOrPartitionError:
                continue
            if code:
                raise AdminError(f"cannot read the configuration of {name}: {message or for_code(code).__name__}")
            configs[name] = {entry[0]: (entry[1] or "", entry[3]) for entry in entries}
    return {topic["topic"]: _state(topic, configs[topic["topic"]]) for topic in described if topic["topic"] in configs}


def _state(topic: Mapping[str, Any], configs: Mapping[str, tuple[str, int]]) -> TopicState:
    partitions = topic["partitions"]
    return TopicState(
        partitions=len(partitions),
        replication_factor=max(len(partition["replicas"]) for partition in partitions),
        configs={name: value for name, (value, _) in configs.items()},
        overrides={name: value for name, (value, source) in configs.items() if source == DYNAMIC_TOPIC_CONFIG},
    )


async def _settle(admin: AIOKafkaAdminClient, catalogue: Sequence[Topic[Any]], cluster: Cluster) -> None:
    async with asyncio.timeout(SETTLE_SECONDS):
        while plan(catalogue, await _read(admin), cluster).changes:  # noqa: ASYNC110 - no Kafka request waits for this
            await asyncio.sleep(0.02)


async def _create(admin: AIOKafkaAdminClient, changes: Sequence[CreateTopic]) -> None:
    if not changes:
        return
    wanted = [
        NewTopic(change.topic, change.partitions, change.replication_factor, topic_configs=dict(change.configs))
        for change in changes
    ]
    response = await admin.create_topics(wanted)
    for name, code, *message in response.topic_errors:
        if code and for_code(code) is not TopicAlreadyExistsError:
            raise AdminError(f"cannot create {name}: {(message and message[0]) or for_code(code).__name__}")


async def _alter(admin: AIOKafkaAdminClient, change: Change) -> None:
    match change:
        case AlterConfigs(topic=topic, overrides=overrides):
            (response, *_) = await admin.alter_configs(
                [ConfigResource(ConfigResourceType.TOPIC, topic, dict(overrides))]
            )
            for code, message, *_ in response.resources:
                if code:
                    raise AdminError(f"cannot configure {topic}: {message or for_code(code).__name__}")
        case AddPartitions(topic=topic, after=after):
            try:
                await admin.create_partitions({topic: NewPartitions(after)})
            except KafkaError as error:
                raise AdminError(f"cannot add partitions to {topic}: {error}") from error
        case CreateTopic():
            pass
