"""Topic administration on a real broker."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from infra.errors import Transient
from infra.kafka import admin
from infra.settings import KafkaSettings
from tests.conftest import Environment
from topics.catalogue import CATALOGUE, DOCUMENTS, KIB, RAW_EVENTS, RECEIPTS, Topic
from topics.plan import AddPartitions, AlterConfigs, CreateTopic, Plan

Catalogue = tuple[Topic[Any], ...]


@pytest.fixture
def settings(kafka: Environment) -> KafkaSettings:
    return KafkaSettings.model_validate({"KAFKA_BOOTSTRAP_SERVERS": kafka["KAFKA_BOOTSTRAP_SERVERS"]})


@pytest.fixture
async def catalogue(settings: KafkaSettings) -> AsyncIterator[Catalogue]:
    """Three topics of this test's own, removed afterwards."""
    mark = uuid4().hex[:8]
    own = tuple(replace(topic, name=f"{topic.name}.{mark}") for topic in (RAW_EVENTS, DOCUMENTS, RECEIPTS))
    yield own
    client = AIOKafkaAdminClient(bootstrap_servers=list(settings.bootstrap))
    await client.start()
    await client.delete_topics([topic.name for topic in own])
    await client.close()


def of(plan: Plan, catalogue: Catalogue) -> Plan:
    """Return `plan` without what it says of other tests' topics."""
    return replace(plan, undeclared=())


async def test_a_broker_is_brought_to_the_catalogue_and_then_left_alone(
    settings: KafkaSettings, catalogue: Catalogue
) -> None:
    foreseen = await admin.compare(settings, catalogue)
    done = await admin.apply(settings, catalogue)
    assert done.changes == foreseen.changes
    assert [type(change) for change in done.changes] == [CreateTopic] * 3
    assert of(await admin.apply(settings, catalogue), catalogue) == Plan()
    states = await admin.describe(settings)
    documents = states[catalogue[1].name]
    assert documents.partitions == DOCUMENTS.partitions
    assert documents.configs["cleanup.policy"] == "compact"


async def test_several_may_apply_at_once(settings: KafkaSettings, catalogue: Catalogue) -> None:
    await asyncio.gather(*(admin.apply(settings, catalogue) for _ in range(4)))
    assert of(await admin.compare(settings, catalogue), catalogue) == Plan()


async def test_safe_changes_are_made_and_what_stands_beside_them_stays(
    settings: KafkaSettings, catalogue: Catalogue
) -> None:
    raw, documents, receipts = catalogue
    await admin.apply(settings, catalogue)
    longer = replace(raw, retention=timedelta(days=40), max_bytes=2_000 * KIB)
    wider = replace(receipts, partitions=5)
    done = await admin.apply(settings, (longer, documents, wider))
    assert {type(change) for change in done.changes} == {AlterConfigs, AddPartitions}
    # apply returns when the broker shows it: nothing to wait for
    states = await admin.describe(settings)
    assert states[receipts.name].partitions == 5
    assert states[raw.name].configs["retention.ms"] == str(40 * 86_400_000)
    assert states[raw.name].configs["max.message.bytes"] == str(2_256 * KIB)
    assert states[raw.name].configs["segment.ms"] == str(7 * 86_400_000)


async def test_dangerous_changes_are_refused_and_left_undone(settings: KafkaSettings, catalogue: Catalogue) -> None:
    raw, documents, receipts = catalogue
    await admin.apply(settings, catalogue)
    before = await admin.describe(settings)
    dangerous = (
        replace(raw, retention=timedelta(days=1)),
        replace(documents, partitions=12, compacted=False),
        replace(receipts, partitions=1),
    )
    done = await admin.apply(settings, dangerous)
    refused = {(refusal.topic, refusal.difference.split()[0]) for refusal in done.refusals}
    assert (raw.name, "retention.ms") in refused
    assert (documents.name, "cleanup.policy") in refused
    assert (receipts.name, "3") in refused
    after = await admin.describe(settings)
    assert after[raw.name].configs["retention.ms"] == before[raw.name].configs["retention.ms"]
    assert after[documents.name].configs["cleanup.policy"] == "compact"
    assert after[receipts.name].partitions == 3


async def test_the_real_raw_events_never_gets_partitions(settings: KafkaSettings) -> None:
    more = tuple(replace(topic, partitions=9) if topic is RAW_EVENTS else topic for topic in CATALOGUE)
    done = await admin.apply(settings, more)
    assert done.changes == ()
    assert [refusal.topic for refusal in done.refusals] == [RAW_EVENTS.name]


async def test_a_setting_that_the_broker_refuses_is_an_error(settings: KafkaSettings, catalogue: Catalogue) -> None:
    impossible = settings.model_copy(update={"replication_factor": 3})
    with pytest.raises(admin.AdminError, match="cannot create"):
        await admin.apply(impossible, catalogue)


async def test_a_broker_that_is_not_there_is_transient() -> None:
    away = KafkaSettings.model_validate({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    for call in (admin.compare, admin.apply):
        with pytest.raises(Transient, match="kafka"):
            await call(away)
