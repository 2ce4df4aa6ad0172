"""Chats under faults: replies that are late, foreign or forged."""

import asyncio
from uuid import uuid4

import pytest

from infra.kafka.codec import new_envelope
from schemas.chat import ChatReply, ChatRequest
from tests.eventually import eventually
from tests.faults.arena import Arena
from tests.faults.chats import Chat, chatting, said
from tests.faults.conftest import Kept
from tests.faults.test_gateway import tenant_of
from topics.catalogue import CHAT_REPLIES, CHAT_REQUESTS


@pytest.mark.fault(38)
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_late_a_foreign_and_a_forged_reply_reach_nobody_and_are_counted(
    arena: Arena, kept_mill: Kept, workspace: str, calm: str
) -> None:
    async with chatting(arena, kept_mill, MILLRACE_ANSWER_TIMEOUT_S="60") as chat:
        tenant = await tenant_of(arena, chat.door, workspace)
        chat.writer.let.clear()
        async with tenant.client:
            asking = asyncio.create_task(said(tenant, "What turns?"))
            await eventually(lambda: chat.writer.at_work == 1, within=60)
            (request,) = await arena.sinks.bodies(CHAT_REQUESTS, workspace)
            before = {cause: await dropped(chat, cause) for cause in ("foreign", "forged", "late")}
            # Another gateway's, that shares the partition; another workspace's, which has guessed the id; and one to a
            # question that this gateway does not know of (any more).
            await put_reply(arena, request, gateway="gw-elsewhere")
            await put_reply(arena, request, workspace=calm)
            await put_reply(arena, request, request_id=uuid4())
            await eventually(lambda: grown(chat, before, 1), within=30, every=0.1)
            assert not asking.done()
            chat.writer.let.set()
            assert await asking == chat.writer.answer("What turns?")
            # What comes when all has been said is late too, also from the right sender.
            await put_reply(arena, request)
            await eventually(lambda: grown(chat, before | {"late": before["late"] + 1}, 1), within=30, every=0.1)
            assert await said(tenant, "And now?") == chat.writer.answer("And now?")


async def put_reply(arena: Arena, request: ChatRequest, **changed: object) -> None:
    """Publish a reply as a worker would, but for what is `changed`."""
    values = {
        "workspace": request.workspace,
        "request_id": request.request_id,
        "conversation_id": request.conversation_id,
        "gateway": request.reply_to.gateway,
        "sequence": 0,
        "kind": "final",
        "text": "a lie",
    }
    reply = ChatReply.model_validate(values | changed)
    envelope = new_envelope(reply, id=uuid4(), source="/forged", subject=CHAT_REPLIES.key(reply))
    await arena.publisher.publish(CHAT_REPLIES, reply, envelope, request.reply_to.partition)


async def dropped(chat: Chat, cause: str) -> float:
    return await chat.door.metric("replies_dropped_total", cause=cause)


async def grown(chat: Chat, before: dict[str, float], by: int) -> bool:
    return [await dropped(chat, cause) - count for cause, count in before.items()] == [by] * len(before)
