"""The inference worker on a real broker: words as they are written, cancels, and fair turns."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import monotonic
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from infra.kafka.answers import Replies
from infra.kafka.codec import decode, new_envelope
from infra.kafka.producer import Publisher
from infra.kafka.runtime import Runtime, Timing
from infra.objects.store import ObjectStore
from infra.redis.client import open_redis
from infra.redis.load import LoadBoard
from schemas.chat import ChatPrompt, ChatReply, ReplyTo
from schemas.chat_cancel import ChatCancel
from schemas.envelope import Envelope
from schemas.ids import derived_event_id
from schemas.interactions import Interaction
from tests.chats import passage, prompt
from tests.eventually import eventually
from tests.live.workers.inference.conftest import PIECES, ModelServer
from tests.valkey import Valkey
from topics.catalogue import CHAT_CANCELS, CHAT_PROMPTS, CHAT_REPLIES, INTERACTIONS
from workers.inference.tools import Tools
from workers.inference.worker import worker

Environment = dict[str, str]
QUICK = Timing(session_s=6, heartbeat_s=0.2, poll_s=0.1)
KEYS = passage(1, "Secrets matter. Keys are rotated weekly.", cosines=(0.1, 0.8))
PARTITION = 5
SLOT_S = 0.2


class Log:
    """Puts prompts and cancels on the log, and keeps what the worker says of those of this test."""

    def __init__(self, bootstrap: str, objects: ObjectStore, publisher: Publisher) -> None:
        self.bootstrap = bootstrap
        self.objects = objects
        self.publisher = publisher
        self.gateway = f"gateway-{uuid4()}"
        self.replies: list[tuple[float, ChatReply, Envelope]] = []
        self.interactions: list[Interaction] = []

    async def ask(self, question: str, *, workspace: str = "acme", partition: int = 0, **fields: object) -> ChatPrompt:
        """Publish a prompt in a conversation of its own, by default all to one partition."""
        values = {
            "workspace": workspace,
            "request_id": uuid4(),
            "conversation_id": uuid4(),
            "passages": [KEYS],
            "stream": True,
            "purpose": "chat",
            "within": timedelta(seconds=60),
            "reply_to": ReplyTo(partition=PARTITION, gateway=self.gateway),
            **fields,
        }
        made = prompt(question, **values)  # type: ignore[arg-type]
        body = made.model_copy(update={"workspace": workspace})
        envelope = new_envelope(body, id=body.request.request_id, source="/test")
        await self.publisher.publish(CHAT_PROMPTS, body, envelope, partition=partition)
        return body

    async def cancel(self, asked: ChatPrompt) -> None:
        body = ChatCancel(workspace=asked.workspace, request_id=asked.request.request_id)
        await self.publisher.publish(CHAT_CANCELS, body, new_envelope(body, id=uuid4(), source="/test"))

    def of(self, asked: ChatPrompt) -> list[ChatReply]:
        return [reply for _, reply, _ in self.replies if reply.request_id == asked.request.request_id]

    def ended(self, asked: ChatPrompt) -> ChatReply | None:
        return next((reply for reply in self.of(asked) if reply.kind != "delta"), None)

    async def read(self) -> None:
        """Read until cancelled."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
        await consumer.start()
        try:
            kept = [TopicPartition(INTERACTIONS.name, number) for number in range(INTERACTIONS.partitions)]
            consumer.assign([TopicPartition(CHAT_REPLIES.name, PARTITION), *kept])
            async for record in consumer:
                if record.topic == INTERACTIONS.name:
                    delivery = await decode(record, INTERACTIONS, self.objects)
                    assert delivery is not None
                    self.interactions.append(delivery.body)
                    continue
                delivery = await decode(record, CHAT_REPLIES, self.objects)
                assert delivery is not None
                if delivery.body.gateway == self.gateway:
                    self.replies.append((monotonic(), delivery.body, delivery.envelope))
        finally:
            await consumer.stop()


@pytest.fixture
async def log(kafka: Environment, tmp_path: Path) -> AsyncIterator[Log]:
    bootstrap = kafka["KAFKA_BOOTSTRAP_SERVERS"]
    objects = ObjectStore.open((tmp_path / "objects").as_uri())
    publisher = await Publisher.open([bootstrap], objects)
    opened = Log(bootstrap, objects, publisher)
    reading = asyncio.create_task(opened.read())
    yield opened
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await publisher.close()


class Running:
    """The worker at work."""

    def __init__(self, runtime: Runtime[Tools]) -> None:
        self._runtime = runtime
        self._task = asyncio.create_task(runtime.run())

    async def stop(self) -> None:
        self._runtime.stop()
        await self._task


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start(
    log: Log, model_server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Start]:
    """Starts the worker as its process would, with the model server of this test."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", log.bootstrap)
    monkeypatch.setenv("OBJECT_STORE_URL", (tmp_path / "objects").as_uri())
    # Nobody is told of the queue, and no answer is kept: it answers all the same.
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("INFERENCE_URL", model_server.url)
    monkeypatch.setenv("INFERENCE_MODEL", "tiny")
    monkeypatch.setenv("INFERENCE_CONCURRENCY", "2")

    async with asyncio.timeout(120):
        async with _running(log) as begin:
            yield begin


@asynccontextmanager
async def _running(log: Log) -> AsyncIterator[Start]:
    running: list[Running] = []

    async def begin(timing: Timing = QUICK) -> Running:
        running.append(Running(Runtime(worker, [log.bootstrap], log.publisher, log.objects, timing=timing)))
        # Joined, and done with what an earlier test left behind.
        first = await log.ask("Anybody there?", within=timedelta(seconds=30))
        await eventually(lambda: log.ended(first), within=30)
        return running[-1]

    try:
        yield begin
    finally:
        for each in running:
            await each.stop()


async def test_the_words_arrive_as_deltas_and_the_answer_ends_them(
    log: Log, start: Start, model_server: ModelServer
) -> None:
    await start()
    model_server.moods, model_server.delay_s = ["paced"], 0.2
    asked = await log.ask("How often?")
    final = await eventually(lambda: log.ended(asked), within=20)
    deltas = log.of(asked)[:-1]
    assert (final.kind, final.text) == ("final", "".join(PIECES))
    assert deltas
    assert all(delta.text for delta in deltas)
    # The final reply tells the rest.
    assert final.text.startswith("".join(delta.text for delta in deltas))
    assert [reply.sequence for reply in log.of(asked)] == list(range(len(deltas) + 1))
    ids = [envelope.id for _, reply, envelope in log.replies if reply.request_id == asked.request.request_id]
    cause = asked.request.request_id
    expected = [derived_event_id(cause, "inference", CHAT_REPLIES.name, f"delta/{n}") for n in range(len(deltas))]
    assert ids[:-1] == expected
    assert (final.usage.completion_tokens, final.degraded, final.served_by) == (5, False, "openai")


async def test_without_a_reader_there_are_no_deltas(log: Log, start: Start) -> None:
    await start()
    asked = await log.ask("How often?", stream=False)
    await eventually(lambda: log.ended(asked), within=20)
    assert [(reply.kind, reply.sequence) for reply in log.of(asked)] == [("final", 0)]


async def test_a_worker_that_ends_within_an_answer_is_followed_by_one_that_tells_it_again(
    log: Log, start: Start, model_server: ModelServer
) -> None:
    """It is given no time to finish, and so commits nothing: what a kill leaves behind, without the wait for it."""
    dying = await start(replace(QUICK, stop_grace_s=0.05))
    model_server.moods, model_server.delay_s = ["stalling", "paced"], 0.2
    asked = await log.ask("How often?")
    await eventually(lambda: log.of(asked), within=20)
    await dying.stop()
    assert log.ended(asked) is None
    await start()
    final = await eventually(lambda: log.ended(asked), within=30)
    told = Replies("acme")
    for reply in log.of(asked):
        told.put(reply)
    part = await told.after(0)
    assert (part.text, part.end) == (final.text, final) == ("".join(PIECES), final)
    assert [reply.kind for reply in log.of(asked)].count("final") == 1
    first = [envelope.id for _, reply, envelope in log.replies if reply.request_id == asked.request.request_id]
    assert first.count(derived_event_id(asked.request.request_id, "inference", CHAT_REPLIES.name, "delta/0")) == 2


async def test_a_cancel_frees_the_slot_of_a_silent_server(log: Log, start: Start, model_server: ModelServer) -> None:
    await start()
    model_server.moods = ["stalling", "hanging", "well"]
    silent = [await log.ask("One?"), await log.ask("Two?")]
    await eventually(lambda: model_server.at_work == 2, within=20)
    next_one = await log.ask("And this?")
    for asked in silent:
        await log.cancel(asked)
    # The server says no more to either, so that nothing but the cancel gives the next one its slot.
    await eventually(lambda: log.ended(next_one), within=20)
    for asked in silent:
        reply = await eventually(lambda asked=asked: log.ended(asked), within=20)  # type: ignore[misc]
        assert reply.error is not None
        assert reply.error.code == "cancelled"
    kept = {asked.request.request_id for asked in silent}
    told = await eventually(lambda: [one for one in log.interactions if one.request_id in kept][1:], within=10)
    assert told[0].error is not None
    assert told[0].error.code == "cancelled"


async def test_a_cancel_may_come_before_its_prompt_and_before_the_worker(
    log: Log, start: Start, model_server: ModelServer
) -> None:
    asked = prompt("Never mind?", request_id=uuid4())
    await log.cancel(asked)
    await start()
    served = len(model_server.bodies)
    question = await log.ask("Never mind?", request_id=asked.request.request_id)
    reply = await eventually(lambda: log.ended(question), within=20)
    assert reply.error is not None
    assert reply.error.code == "cancelled"
    assert len(model_server.bodies) == served


async def test_a_thousand_questions_delay_anothers_by_one_slots_time(
    log: Log, start: Start, model_server: ModelServer
) -> None:
    """All in one partition, the single one last: the hardest case. Bound: a slot's time and a second; told here in
    questions of the flood that were begun meanwhile, as a busy machine has longer seconds. Without turns it were 900.
    """
    model_server.moods, model_server.delay_s = ["slow"], SLOT_S
    running = await start()
    flood: set[UUID] = set()
    for _ in range(10):
        asked = await asyncio.gather(*(log.ask(f"Flood {uuid4()}?", workspace="flood") for _ in range(100)))
        flood |= {one.request.request_id for one in asked}
    before = len(model_server.bodies)
    single = await log.ask("Mine?", workspace="single")
    assert (await eventually(lambda: log.ended(single), within=60)).kind == "final"
    begun = [json.dumps(body) for body in model_server.bodies[before:]]
    overtook = next(number for number, body in enumerate(begun) if "Mine?" in body)
    answered = sum(reply.request_id in flood and reply.kind == "final" for _, reply, _ in log.replies)
    assert answered < 900, "the flood was over: nothing was shown"
    assert overtook <= 200, "two slots, and its time on the log"
    assert model_server.most_at_work == 2
    begun_before = len(model_server.bodies)
    await running.stop()
    assert len(model_server.bodies) - begun_before <= 2, "those that only waited were not given back at once"


async def test_the_gateways_hear_which_models_it_serves(
    start: Start, own_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = own_valkey.settings().url
    assert url is not None
    monkeypatch.setenv("REDIS_URL", url.get_secret_value())
    await start()
    async with open_redis(own_valkey.settings()) as client:
        board = LoadBoard(client, "inference")

        async def told() -> list[tuple[str, ...]]:
            return [posted.load.models for posted in await board.read() if posted.load.models]

        assert await eventually(told) == [("extractive", "support-lora", "tiny")]
