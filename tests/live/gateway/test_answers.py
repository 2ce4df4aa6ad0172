"""Questions over the real log, answered by the test in the workers' place; and the life of the process."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import pytest

from infra.kafka.codec import new_envelope
from infra.kafka.producer import Publisher
from infra.objects.store import ObjectStore
from infra.postgres.keys import create_key
from schemas.chat import ChatReply, ChatRequest
from schemas.ids import deterministic_id
from tests.eventually import eventually
from tests.live.gateway.conftest import Environment, Tail, running, tailing
from tests.live.postgres import rows
from topics.catalogue import CHAT_REPLIES, CHAT_REQUESTS


@pytest.fixture
async def questions(surroundings: Environment) -> AsyncIterator[Tail]:
    async with tailing(surroundings, CHAT_REQUESTS) as tail:
        yield tail


@pytest.fixture
async def publisher(surroundings: Environment) -> AsyncIterator[Publisher]:
    objects = ObjectStore.open(surroundings["OBJECT_STORE_URL"])
    opened = await Publisher.open([surroundings["KAFKA_BOOTSTRAP_SERVERS"]], objects)
    yield opened
    await opened.close()


async def asked(questions: Tail, workspace: str) -> ChatRequest:
    async def found() -> ChatRequest | None:
        return next((each.body for each in await questions.read() if each.envelope.workspace == workspace), None)

    request = await eventually(found)
    assert isinstance(request, ChatRequest)
    return request


async def answer(publisher: Publisher, request: ChatRequest, text: str, *, workspace: str = "") -> None:
    reply = ChatReply(
        workspace=workspace or request.workspace,
        request_id=request.request_id,
        conversation_id=request.conversation_id,
        gateway=request.reply_to.gateway,
        sequence=0,
        kind="final",
        text=text,
    )
    envelope = new_envelope(reply, id=deterministic_id("test", str(uuid4())), source="/test")
    await publisher.publish(CHAT_REPLIES, reply, envelope, request.reply_to.partition)


async def test_a_question_is_answered_over_the_log(
    client: httpx.AsyncClient, questions: Tail, publisher: Publisher, workspace: str
) -> None:
    asking = asyncio.create_task(client.post("/v1/rag/query", json={"query": "is it?"}))
    request = await asked(questions, workspace)
    await answer(publisher, request, "forged", workspace=f"{workspace}-2")
    await answer(publisher, request, "It is.")
    response = await asking
    assert response.status_code == 200, response.text
    assert response.json()["answer"] == "It is."
    assert response.json()["request_id"] == str(request.request_id)


async def test_a_conversation_goes_on_and_another_workspaces_does_not(  # noqa: PLR0917 - fixtures
    client: httpx.AsyncClient,
    stranger: httpx.AsyncClient,
    questions: Tail,
    publisher: Publisher,
    pool: asyncpg.Pool,
    workspace: str,
) -> None:
    conversation = uuid4()
    await rows.turn(pool, workspace, conversation, 1)
    body = {"message": "and then?", "conversation_id": str(conversation)}
    for asker, theirs, told in (
        (client, workspace, ["q1", "a1", "and then?"]),
        (stranger, f"{workspace}-2", ["and then?"]),
    ):
        asking = asyncio.create_task(asker.post("/v1/chat", json=body))
        request = await asked(questions, theirs)
        assert [message.content for message in request.messages] == told
        assert (request.workspace, request.conversation_id) == (theirs, conversation)
        await answer(publisher, request, "So.")
        assert (await asking).json()["conversation_id"] == str(conversation)


async def test_a_stop_lets_the_request_in_flight_end(  # noqa: PLR0917 - fixtures
    surroundings: Environment,
    pool: asyncpg.Pool,
    questions: Tail,
    publisher: Publisher,
    workspace: str,
    tmp_path: Path,
) -> None:
    key = (await create_key(pool, workspace, "test")).key
    async with running(surroundings, tmp_path) as gateway, gateway.client(key) as client:
        asking = asyncio.create_task(client.post("/v1/rag/query", json={"query": "is it?"}))
        request = await asked(questions, workspace)
        gateway.process.send_signal(signal.SIGTERM)

        async def closed() -> bool:
            try:
                async with gateway.client() as other:
                    await other.get("/health/live")
            except httpx.TransportError:
                return True
            return False

        await eventually(closed)
        assert not asking.done()
        await answer(publisher, request, "It is.")
        assert (await asking).json()["answer"] == "It is."
        assert await gateway.stop() == 0
        assert "Traceback" not in gateway.log.read_text()
        assert key not in gateway.log.read_text()
