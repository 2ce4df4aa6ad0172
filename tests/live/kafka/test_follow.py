"""Following a topic without a group, on a real broker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer

from infra.kafka.codec import new_envelope
from infra.kafka.follow import Follower
from infra.kafka.producer import Publisher
from infra.kafka.worker import Delivery
from infra.objects.store import ObjectStore
from schemas.raw import RawEvent
from tests.events import raw_event
from tests.eventually import eventually
from topics.catalogue import Topic


@asynccontextmanager
async def following(
    bootstrap: str, topic: Topic[RawEvent], objects: ObjectStore, back_s: float = 0
) -> AsyncIterator[list[str]]:
    heard: list[str] = []

    def hear(delivery: Delivery[RawEvent]) -> None:
        heard.append(delivery.body.delivery)

    follower = await Follower.open([bootstrap], topic, objects, hear, back_s=back_s)
    async with asyncio.timeout(60):
        await follower.wait_ready()
    yield heard
    await follower.close()


async def publish(publisher: Publisher, topic: Topic[RawEvent], *names: str) -> None:
    for name in names:
        body = raw_event(name)
        await publisher.publish(topic, body, new_envelope(body, id=uuid4(), source="src_a"))


async def test_each_follower_hears_everything_of_all_partitions(
    bootstrap: str, topic: Topic[RawEvent], publisher: Publisher, objects: ObjectStore
) -> None:
    names = [f"d{number}" for number in range(12)]
    async with following(bootstrap, topic, objects) as one, following(bootstrap, topic, objects) as other:
        await publish(publisher, topic, *names)
        await eventually(lambda: sorted(one) == sorted(other) == sorted(names))


async def test_it_begins_as_far_back_as_asked(
    bootstrap: str, topic: Topic[RawEvent], publisher: Publisher, objects: ObjectStore
) -> None:
    await publish(publisher, topic, "early")
    async with following(bootstrap, topic, objects) as late, following(bootstrap, topic, objects, 60) as back:
        assert (late, back) == ([], ["early"]), "ready means that what was there is heard"
        await publish(publisher, topic, "now")
        await eventually(lambda: late == ["now"] and sorted(back) == ["early", "now"])


async def test_what_cannot_be_read_is_left_out(
    bootstrap: str,
    topic: Topic[RawEvent],
    publisher: Publisher,
    objects: ObjectStore,
    raw_produce: Callable[..., Awaitable[None]],
) -> None:
    async with following(bootstrap, topic, objects) as heard:
        await raw_produce(topic.name, value=b"\xff not ours", partition=0)
        await raw_produce(topic.name, key=b"gone", value=None, partition=0)
        body = raw_event("good")
        await publisher.publish(topic, body, new_envelope(body, id=uuid4(), source="src_a"), partition=0)
        await eventually(lambda: heard == ["good"])


async def test_one_that_fetches_no_more_is_replaced(
    bootstrap: str,
    topic: Topic[RawEvent],
    publisher: Publisher,
    objects: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A dead fetcher polls on and finds nothing: a cancel would go unheard for ever."""
    looks = 0

    def broken_once(consumer: AIOKafkaConsumer) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise RuntimeError("the consumer fetches no more")

    monkeypatch.setattr("infra.kafka.follow.check_fetching", broken_once)
    async with following(bootstrap, topic, objects, 60) as heard:
        await publish(publisher, topic, "first")
        await eventually(lambda: looks > 1)
        await publish(publisher, topic, "second")
        await eventually(lambda: {"first", "second"} == set(heard))
