"""Publishing many records at once, on a real broker."""

from collections.abc import Sequence

import pytest
from aiokafka import ConsumerRecord

from infra.errors import Permanent
from infra.kafka.codec import Encoded, encode, new_envelope
from infra.kafka.producer import BATCH_BYTES, MANY, Publisher
from infra.objects.store import ObjectStore
from schemas.dead_letters import Reason
from schemas.raw import RawEvent
from tests.events import raw_event
from tests.live.kafka.conftest import read_all
from topics.catalogue import Topic


async def records_of(topic: Topic[RawEvent], objects: ObjectStore, names: Sequence[str], size: int) -> list[Encoded]:
    bodies = [raw_event(name, subject=f"s{int(name) % 11}", body=b"x" * size) for name in names]
    return [await encode(topic, body, new_envelope(body, id=body.event_id, source="src_a"), objects) for body in bodies]


async def stored(bootstrap: str, topic: Topic[RawEvent]) -> dict[int, list[str]]:
    """Return the names of the stored events by partition, in the order of their offsets."""
    found: dict[int, list[ConsumerRecord]] = {}
    for record in await read_all(bootstrap, topic.name):
        found.setdefault(record.partition, []).append(record)  # type: ignore[attr-defined]
    return {
        partition: [
            RawEvent.model_validate_json(each.value).delivery
            for each in sorted(records, key=lambda record: int(record.offset))
        ]
        for partition, records in found.items()
    }


async def test_many_at_once_stand_where_one_by_one_would_and_in_order(
    publisher: Publisher, topic: Topic[RawEvent], objects: ObjectStore, bootstrap: str
) -> None:
    """A key that changed its partition with the size of a batch would lose its order."""
    names = [str(number) for number in range(600)]
    records = await records_of(topic, objects, names, size=1_500)
    assert sum(len(record.value or b"") for record in records) > 3 * BATCH_BYTES
    for record in records[:22]:
        await publisher.send([record])
    alone = await stored(bootstrap, topic)
    await publisher.send(records[22:])
    together = await stored(bootstrap, topic)
    home = {record.key: None for record in records}
    assert sorted(name for names in together.values() for name in names) == sorted(names)
    assert len(together) > 1
    for partition, found in together.items():
        assert found == sorted(found, key=int)
        assert {int(name) % 11 for name in found} == {int(name) % 11 for name in alone[partition]}
    assert len(home) == 11


async def test_many_for_one_partition_stand_there(
    publisher: Publisher, topic: Topic[RawEvent], objects: ObjectStore, bootstrap: str
) -> None:
    names = [str(number) for number in range(MANY)]
    await publisher.send([each._replace(partition=2) for each in await records_of(topic, objects, names, size=1)])
    assert await stored(bootstrap, topic) == {2: names}


async def test_records_without_a_key_are_stored_too(
    publisher: Publisher, topic: Topic[RawEvent], objects: ObjectStore, bootstrap: str
) -> None:
    names = [str(number) for number in range(2 * MANY)]
    await publisher.send([each._replace(key=None) for each in await records_of(topic, objects, names, size=1)])
    found = await stored(bootstrap, topic)
    assert sorted(name for names in found.values() for name in names) == sorted(names)


@pytest.mark.parametrize("count", [1, MANY, 3 * MANY])
async def test_what_the_broker_refuses_for_its_size_is_permanent(
    count: int, publisher: Publisher, topic: Topic[RawEvent], objects: ObjectStore, bootstrap: str
) -> None:
    """Among many it is not left out: the whole call fails, and its caller tries each alone."""
    records = await records_of(topic, objects, [str(number) for number in range(count)], size=1)
    records[-1].headers.append(("x-large", b"x" * 1_500_000))
    with pytest.raises(Permanent) as refused:
        await publisher.send(records)
    assert refused.value.reason is Reason.OVERSIZE
    await publisher.send(records[:-1])
    assert str(count - 1) not in {name for names in (await stored(bootstrap, topic)).values() for name in names}


async def test_nothing_to_publish_is_no_error(publisher: Publisher) -> None:
    await publisher.send([])
