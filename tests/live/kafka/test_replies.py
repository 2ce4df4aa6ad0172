"""Request and reply on a real broker."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from infra.kafka.codec import new_envelope
from infra.kafka.producer import Publisher
from infra.kafka.replies import ReplyReader
from infra.objects.store import ObjectStore
from infra.telemetry.metrics import REGISTRY
from schemas.chat import ChatReply
from schemas.ids import deterministic_id
from tests.eventually import eventually
from tests.live.kafka.conftest import create, new
from topics.catalogue import CHAT_REPLIES


@pytest.fixture
async def reader(bootstrap: str, objects: ObjectStore) -> AsyncIterator[ReplyReader]:
    await create(bootstrap, new(CHAT_REPLIES))
    opened = await ReplyReader.open([bootstrap], f"gateway-{uuid4()}", objects)
    await opened.wait_ready(20)
    yield opened
    await opened.close()


async def send(publisher: Publisher, reader: ReplyReader, request: UUID, **fields: object) -> None:
    to = reader.reply_to
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
        async with asyncio.timeout(10):
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
        async with asyncio.timeout(10):
            assert (await replies.end()).text == "mine"
    await eventually(lambda: all(dropped(cause) == before[cause] + 1 for cause in before))
