"""Replies read back from a real broker."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from infra.kafka.answers import Replies
from infra.kafka.codec import new_envelope
from infra.kafka.producer import Publisher
from infra.kafka.reply_log import ReplyLog
from infra.objects.store import ObjectStore
from schemas.chat import ChatReply
from schemas.event import now
from schemas.ids import deterministic_id
from tests.live.kafka.conftest import new
from tests.own_topic import create
from topics.catalogue import CHAT_REPLIES

PARTITION = 4


@pytest.fixture
async def log(bootstrap: str, objects: ObjectStore) -> AsyncIterator[ReplyLog]:
    await create(bootstrap, new(CHAT_REPLIES))
    opened = ReplyLog([bootstrap], objects)
    yield opened
    await opened.close()


async def send(publisher: Publisher, request: UUID, *texts: str, end: bool = False, workspace: str = "acme") -> None:
    for sequence, text in enumerate([*texts, "".join(texts)] if end else texts):
        reply = ChatReply(
            workspace=workspace,
            request_id=request,
            conversation_id=request,
            gateway="elsewhere",
            sequence=sequence,
            kind="final" if sequence == len(texts) else "delta",
            text=text,
        )
        envelope = new_envelope(reply, id=deterministic_id("reply", str(uuid4())), source="/test")
        await publisher.publish(CHAT_REPLIES, reply, envelope, partition=PARTITION)


async def whole(replies: Replies) -> str:
    told = ""
    async with asyncio.timeout(60):
        while (part := await replies.after(len(told))).end is None:
            told += part.text
    return told + part.text


async def test_what_was_said_before_and_what_is_said_after(publisher: Publisher, log: ReplyLog) -> None:
    request, since = uuid4(), now()
    await send(publisher, request, "one ", "two")
    with log.follow(request, "acme", PARTITION, since) as replies:
        async with asyncio.timeout(60):
            assert (await replies.after(0)).text == "one two"
            await replies.caught_up.wait()
        assert replies.last is None
        await send(publisher, request, "one ", "two ", "three", end=True)
        assert await whole(replies) == "one two three"


async def test_newcomers_rewind_and_disturb_nobody(publisher: Publisher, log: ReplyLog) -> None:
    since = now()
    requests = [uuid4() for _ in range(20)]
    for request in requests:
        await send(publisher, request, str(request), " so far")
    running = uuid4()
    await send(publisher, running, "a")

    async def follow(request: UUID) -> str:
        with log.follow(request, "acme", PARTITION, since) as replies:
            return await whole(replies)

    with log.follow(running, "acme", PARTITION, since) as replies:
        async with asyncio.timeout(60):
            assert (await replies.after(0)).text == "a"
        following = [asyncio.create_task(follow(request)) for request in requests]
        for request in requests:
            await send(publisher, request, str(request), " so far", ".", end=True)
        assert await asyncio.gather(*following) == [f"{request} so far." for request in requests]
        await send(publisher, running, "a", "b", end=True)
        assert await whole(replies) == "ab"


async def test_other_workspaces_and_other_requests_are_not_seen(publisher: Publisher, log: ReplyLog) -> None:
    request = uuid4()
    await send(publisher, request, "mine", end=True)
    with (
        log.follow(request, "rival", PARTITION, now()) as foreign,
        log.follow(uuid4(), "acme", PARTITION, now()) as another,
        log.follow(request, "acme", PARTITION, now()) as mine,
    ):
        async with asyncio.timeout(60):
            for replies in (foreign, another, mine):
                await replies.caught_up.wait()
        assert (foreign.told, another.told, mine.told) == ("", "", "mine")


async def test_nothing_is_read_from_before_the_request(publisher: Publisher, log: ReplyLog) -> None:
    request = uuid4()
    await send(publisher, request, "mine", end=True)
    with log.follow(request, "acme", PARTITION, now() + timedelta(hours=1)) as replies:
        async with asyncio.timeout(60):
            await replies.caught_up.wait()
        assert replies.told == ""


async def test_there_are_no_other_partitions(log: ReplyLog) -> None:
    with pytest.raises(ValueError, match="partition"), log.follow(uuid4(), "acme", CHAT_REPLIES.partitions, now()):
        pass
