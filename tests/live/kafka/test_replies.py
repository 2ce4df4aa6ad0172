"""Request and reply on a real broker."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from infra.errors import Transient
from infra.kafka.codec import new_envelope
from infra.kafka.producer import Publisher
from infra.kafka.replies import ReplyReader
from infra.objects.store import ObjectStore
from infra.telemetry.metrics import REGISTRY
from schemas.chat import ChatReply, ReplyTo
from schemas.ids import deterministic_id
from tests.eventually import eventually
from tests.live.kafka.conftest import new
from tests.own_topic import create
from topics.catalogue import CHAT_REPLIES


@pytest.fixture
async def reader(bootstrap: str, objects: ObjectStore) -> AsyncIterator[ReplyReader]:
    await create(bootstrap, new(CHAT_REPLIES))
    opened = await ReplyReader.open([bootstrap], f"gateway-{uuid4()}", objects)
    await opened.wait_ready(20)
    yield opened
    await opened.close()


async def send(
    publisher: Publisher, reader: ReplyReader, request: UUID, to: ReplyTo | None = None, **fields: object
) -> None:
    to = to or reader.reply_to
    values: dict[str, object] = {
        "workspace": "acme",
        "request_id": request,
        "conversation_id": uuid4(),
        "gateway": to.gateway,
        "sequence": 0,
        "kind": "final",
    }
    reply = ChatReply.model_validate({**values, **fields})
    envelope = new_envelope(reply, id=deterministic_id("reply", str(uuid4())), source="/test")
    await publisher.publish(CHAT_REPLIES, reply, envelope, partition=to.partition)


def dropped(cause: str) -> float:
    return REGISTRY.get_sample_value("millrace_replies_dropped_total", {"cause": cause}) or 0.0


async def test_parts_arrive_in_order_and_end_with_the_last(publisher: Publisher, reader: ReplyReader) -> None:
    request = uuid4()
    with reader.expect(request, "acme") as replies:
        for sequence, text in enumerate(["one ", "two"]):
            await send(publisher, reader, request, sequence=sequence, kind="delta", text=text)
        await send(publisher, reader, request, sequence=1, kind="delta", text="two")
        await send(publisher, reader, request, sequence=2, text="one two")
        told = ""
        async with asyncio.timeout(60):
            while (part := await replies.after(len(told))).end is None:
                told += part.text
    assert told + part.text == "one two"
    assert part.end.kind == "final"


async def test_foreign_forged_and_late_replies_are_dropped_and_counted(
    publisher: Publisher, reader: ReplyReader
) -> None:
    request = uuid4()
    before = {cause: dropped(cause) for cause in ("foreign", "forged", "late")}
    with reader.expect(request, "acme") as replies:
        await send(publisher, reader, request, gateway="another", text="foreign")
        await send(publisher, reader, request, workspace="rival", text="forged")
        await send(publisher, reader, uuid4(), text="late")
        await send(publisher, reader, request, text="mine")
        async with asyncio.timeout(60):
            assert (await replies.end()).text == "mine"
    await eventually(lambda: all(dropped(cause) == before[cause] + 1 for cause in before))


class Places:
    """A lease that says what the test wants; None as an away server does."""

    def __init__(self, place: int | None) -> None:
        self.place = place
        self.released = False

    async def take(self, wanted: int) -> int | None:
        if self.place is None:
            raise Transient("redis", "away")
        return self.place

    async def release(self) -> None:
        self.released = True


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.kafka.replies.RENEW_S", 0.05)


async def test_a_lost_partition_is_read_until_its_last_request_has_ended(
    bootstrap: str, objects: ObjectStore, publisher: Publisher, often: None
) -> None:
    await create(bootstrap, new(CHAT_REPLIES))
    lease = Places(2)
    reader = await ReplyReader.open([bootstrap], f"gateway-{uuid4()}", objects, lease)
    await reader.wait_ready(20)
    assert reader.reply_to.partition == 2
    before, after = uuid4(), uuid4()
    with reader.expect(before, "acme") as old:
        lease.place = 5
        await eventually(lambda: reader.reply_to.partition == 5)
        with reader.expect(after, "acme") as fresh:
            await send(publisher, reader, before, to=ReplyTo(partition=2, gateway=reader.reply_to.gateway), text="old")
            await send(publisher, reader, after, text="fresh")
            async with asyncio.timeout(60):
                assert [(await old.end()).text, (await fresh.end()).text] == ["old", "fresh"]
    await eventually(lambda: set(reader._next) == {5})
    lease.place = None
    await reader.close()
    assert reader.reply_to.partition == 5, "without a lease the partition stays"
    assert lease.released


async def test_without_leases_each_has_a_partition_all_the_same(bootstrap: str, objects: ObjectStore) -> None:
    reader = await ReplyReader.open([bootstrap], "gateway-1", objects, Places(None))
    await reader.wait_ready(20)
    assert 0 <= reader.reply_to.partition < CHAT_REPLIES.partitions
    await reader.close()


async def test_what_comes_while_the_connection_is_lost_is_heard_after(
    publisher: Publisher, reader: ReplyReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = uuid4()
    failing = asyncio.Event()

    def broken(consumer: object) -> None:
        failing.set()
        raise RuntimeError("the consumer fetches no more")

    with reader.expect(request, "acme") as replies:
        monkeypatch.setattr("infra.kafka.replies.check_fetching", broken)
        await failing.wait()
        await eventually(lambda: not reader.ready)
        await send(publisher, reader, request, kind="delta", text="one ")
        await send(publisher, reader, request, sequence=1, text="one two")
        monkeypatch.undo()
        async with asyncio.timeout(60):
            assert (await replies.end()).text == "one two"
    assert reader.ready
