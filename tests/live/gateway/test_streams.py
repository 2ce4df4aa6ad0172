"""Streams over the real log: broken, taken up elsewhere, left for good. The test answers in the workers' place."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from infra.kafka.codec import new_envelope
from infra.kafka.producer import Publisher
from infra.objects.store import ObjectStore
from infra.postgres.keys import create_key
from schemas.chat import ChatReply, ChatRequest
from schemas.chat_cancel import ChatCancel
from schemas.ids import deterministic_id
from tests.eventually import eventually
from tests.live.gateway.conftest import Environment, Gateway, Tail, running, tailing
from topics.catalogue import CHAT_CANCELS, CHAT_REPLIES, CHAT_REQUESTS

STREAMS = 100
TURN = {"message": "is it?", "stream": True}


@pytest.fixture(scope="module")
async def with_cache(surroundings: Environment, valkey: Environment) -> Environment:
    return surroundings | {"REDIS_URL": valkey["REDIS_URL"], "MILLRACE_RETURN_GRACE_S": "1"}


@pytest.fixture(scope="module")
async def other(with_cache: Environment, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """The gateway that goes on living."""
    async with running(with_cache, tmp_path_factory.mktemp("other")) as started:
        yield started


@pytest.fixture
async def questions(surroundings: Environment) -> AsyncIterator[Tail]:
    async with tailing(surroundings, CHAT_REQUESTS) as tail:
        yield tail


@pytest.fixture
async def cancels(surroundings: Environment) -> AsyncIterator[Tail]:
    async with tailing(surroundings, CHAT_CANCELS) as tail:
        yield tail


@asynccontextmanager
async def opened_publisher(surroundings: Environment) -> AsyncIterator[Publisher]:
    objects = ObjectStore.open(surroundings["OBJECT_STORE_URL"])
    opened = await Publisher.open([surroundings["KAFKA_BOOTSTRAP_SERVERS"]], objects)
    yield opened
    await opened.close()


@pytest.fixture
async def publisher(surroundings: Environment) -> AsyncIterator[Publisher]:
    async with opened_publisher(surroundings) as opened:
        yield opened


async def asked(questions: Tail, workspace: str, count: int = 1) -> list[ChatRequest]:
    async def found() -> list[ChatRequest]:
        bodies = [each.body for each in await questions.read() if each.envelope.workspace == workspace]
        return bodies if len(bodies) >= count else []

    return await eventually(found, within=20)


async def say(publisher: Publisher, request: ChatRequest, kind: str, text: str, sequence: int) -> None:
    reply = ChatReply(
        workspace=request.workspace,
        request_id=request.request_id,
        conversation_id=request.conversation_id,
        gateway=request.reply_to.gateway,
        sequence=sequence,
        kind=kind,
        text=text,
    )
    identity = deterministic_id("test", str(request.request_id), str(sequence))
    envelope = new_envelope(reply, id=identity, source="/test")
    await publisher.publish(CHAT_REPLIES, reply, envelope, request.reply_to.partition)


class Reading:
    """A stream as its client reads it, as far as it came."""

    def __init__(self) -> None:
        self.text = ""
        self.last_id = "0"
        self.last: dict[str, Any] = {}
        self.request_id = ""
        self.error = ""

    async def read(self, response: httpx.Response) -> None:
        """Read to the end, or to where the connection breaks."""
        assert response.status_code == 200, await response.aread()
        name = ""
        async for line in response.aiter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "id":
                self.last_id = value
            elif field == "data":
                self.last = json.loads(value)
                if name == "accepted":
                    self.request_id = self.last["request_id"]
                elif name == "delta":
                    self.text += self.last["text"]
                elif name == "error":
                    self.error = self.last["code"]


@asynccontextmanager
async def begun(gateway: Gateway, key: str, reading: Reading) -> AsyncIterator["asyncio.Task[None]"]:
    """Ask and read along, until the block ends."""

    async def read() -> None:
        async with gateway.client(key) as client, client.stream("POST", "/v1/chat", json=TURN) as response:
            await reading.read(response)

    task = asyncio.create_task(read())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_killed_gateways_streams_are_taken_up_by_another(  # noqa: PLR0917 - fixtures
    with_cache: Environment,
    other: Gateway,
    questions: Tail,
    publisher: Publisher,
    workspace: str,
    key: str,
    tmp_path: Path,
) -> None:
    readings = [Reading() for _ in range(STREAMS)]

    async def read(gateway: Gateway, reading: Reading) -> None:
        async with gateway.client(key) as client, client.stream("POST", "/v1/chat", json=TURN) as response:
            await reading.read(response)

    async with running(with_cache, tmp_path) as gateway:
        reads = [asyncio.create_task(read(gateway, reading)) for reading in readings]
        requests = {str(each.request_id): each for each in await asked(questions, workspace, STREAMS)}
        for number, request in enumerate(requests.values()):
            await say(publisher, request, "delta", f"Mühle {number} — ", 0)
            await say(publisher, request, "delta", "steht 👋 ", 1)
        await eventually(lambda: all(reading.text for reading in readings))
        gateway.process.send_signal(signal.SIGKILL)
        broken = await asyncio.gather(*reads, return_exceptions=True)
        assert all(isinstance(each, httpx.TransportError) for each in broken)
        await gateway.process.wait()

    async def resume(reading: Reading) -> None:
        path = f"/v1/chat/{reading.request_id}/events"
        async with (
            other.client(key) as client,
            client.stream("GET", path, headers={"last-event-id": reading.last_id}) as response,
        ):
            await reading.read(response)

    resumed = [asyncio.create_task(resume(reading)) for reading in readings]
    for number, request in enumerate(requests.values()):
        await say(publisher, request, "delta", "still.", 2)
        await say(publisher, request, "final", f"Mühle {number} — steht 👋 still.", 3)
    await asyncio.gather(*resumed)
    for number, request_id in enumerate(requests):
        (reading,) = [each for each in readings if each.request_id == request_id]
        assert reading.text == reading.last["answer"] == f"Mühle {number} — steht 👋 still."
        assert reading.last["request_id"] == request_id
        assert reading.error == ""


async def test_a_dropped_connection_is_taken_up_and_nothing_is_cancelled(  # noqa: PLR0917 - fixtures
    other: Gateway, questions: Tail, cancels: Tail, publisher: Publisher, workspace: str, key: str
) -> None:
    reading = Reading()
    async with begun(other, key, reading):
        (request,) = await asked(questions, workspace)
        await say(publisher, request, "delta", "One ", 0)
        await eventually(lambda: reading.text)
    async with other.client(key) as client:
        path = f"/v1/chat/{reading.request_id}"
        async with client.stream("GET", f"{path}/events", headers={"last-event-id": reading.last_id}) as response:
            resumed = asyncio.create_task(reading.read(response))
            state = await client.get(path)
            assert (state.status_code, state.json()["so_far"]) == (202, "One ")
            await say(publisher, request, "final", "One answer.", 1)
            await resumed
        assert reading.text == "One answer."
        assert (await client.get(path)).json()["answer"]["answer"] == "One answer."
    # Longer than the grace after the first connection broke: a second question left for good is cancelled before.
    left = Reading()
    async with begun(other, key, left):
        await asked(questions, workspace, 2)
        await eventually(lambda: left.request_id)
    assert [str(each.request_id) for each in await cancelled(cancels, workspace)] == [left.request_id]


async def cancelled(cancels: Tail, workspace: str) -> list[ChatCancel]:
    async def found() -> list[ChatCancel]:
        return [each.body for each in await cancels.read() if each.envelope.workspace == workspace]

    return await eventually(found)


async def test_who_leaves_a_completion_cancels_it_at_once(
    other: Gateway, questions: Tail, cancels: Tail, workspace: str, key: str
) -> None:
    asking = {"model": "millrace", "stream": True, "messages": [{"role": "user", "content": "is it?"}]}
    async with other.client(key) as client:
        leaving = asyncio.create_task(client.post("/v1/chat/completions", json=asking))
        (request,) = await asked(questions, workspace)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
    (cancel,) = await cancelled(cancels, workspace)
    assert (cancel.request_id, cancel.reason) == (request.request_id, "disconnected")


async def test_stopping_is_told_to_the_workers_and_only_by_its_owner(  # noqa: PLR0917 - fixtures
    other: Gateway, pool: asyncpg.Pool, questions: Tail, cancels: Tail, workspace: str, key: str
) -> None:
    reading = Reading()
    stranger = (await create_key(pool, f"{workspace}-2", "test")).key
    async with begun(other, key, reading), other.client(key) as client, other.client(stranger) as foreign:
        (request,) = await asked(questions, workspace)
        path = f"/v1/chat/{request.request_id}"
        for answer in (await foreign.delete(path), await foreign.get(path), await foreign.get(f"{path}/events")):
            assert (answer.status_code, answer.json()["code"]) == (404, "request_not_found")
        assert (await client.delete(path)).status_code == 202
        (cancel,) = await cancelled(cancels, workspace)
        assert (cancel.request_id, cancel.reason) == (request.request_id, "deleted")


async def test_gateways_read_partitions_of_their_own(  # noqa: PLR0917 - fixtures
    with_cache: Environment, other: Gateway, questions: Tail, workspace: str, key: str, tmp_path: Path
) -> None:
    async with running(with_cache, tmp_path) as second, running(with_cache, tmp_path) as third:
        gateways = [other, second, third]
        readings = [Reading() for _ in gateways]
        async with (
            begun(gateways[0], key, readings[0]),
            begun(gateways[1], key, readings[1]),
            begun(gateways[2], key, readings[2]),
        ):
            requests = await asked(questions, workspace, 3)
        assert len({request.reply_to.gateway for request in requests}) == 3
        assert len({request.reply_to.partition for request in requests}) == 3


async def test_a_key_stands_for_one_question_at_every_gateway(  # noqa: PLR0917 - fixtures
    with_cache: Environment,
    other: Gateway,
    questions: Tail,
    publisher: Publisher,
    workspace: str,
    key: str,
    tmp_path: Path,
) -> None:
    turn = {"message": "is it?"}
    headers = {"idempotency-key": f"{workspace}-1"}
    async with running(with_cache, tmp_path) as gateway, gateway.client(key) as first, other.client(key) as second:
        asking = [
            asyncio.create_task(client.post("/v1/chat", json=turn, headers=headers))
            for client in (first, second, first, second)
        ]
        (request,) = await asked(questions, workspace)
        await say(publisher, request, "delta", "It ", 0)
        await say(publisher, request, "final", "It is.", 1)
        answers = [each.json() for each in await asyncio.gather(*asking)]
        assert all(answer == answers[0] for answer in answers)
        assert answers[0]["answer"] == "It is."
        gateway.process.send_signal(signal.SIGKILL)
        await gateway.process.wait()
        assert (await second.post("/v1/chat", json=turn, headers=headers)).json() == answers[0]
        reused = await second.post("/v1/chat", json={"message": "is it not?"}, headers=headers)
        assert (reused.status_code, reused.json()["code"]) == (422, "key_reused")
    assert len(await asked(questions, workspace)) == 1
