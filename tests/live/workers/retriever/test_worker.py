"""From a question to a cited answer: both workers' handlers with the tools that the environment opens."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from infra.errors import Transient
from infra.kafka.codec import decode, new_envelope
from infra.kafka.producer import Publisher
from infra.kafka.runtime import Runtime, Timing
from infra.objects.store import ObjectStore
from infra.postgres.indexes import Index, register
from schemas.chat import ChatPrompt, ChatReply, ChatRequest, ReplyTo
from schemas.chat_cancel import ChatCancel
from schemas.ids import document_id
from tests.chats import request
from tests.databases import fresh_database
from tests.deliveries import delivery
from tests.events import document
from tests.live.workers.retriever.library import Library
from topics.catalogue import CHAT_CANCELS, CHAT_REPLIES, CHAT_REQUESTS
from workers.inference.settings import InferenceSettings
from workers.inference.tools import Tools as Answering
from workers.inference.tools import open_answerer
from workers.inference.worker import infer
from workers.retriever.live import Encoders, LiveIndex
from workers.retriever.tools import Tools, open_tools
from workers.retriever.worker import retrieve, worker

KEYS = "Secrets live in the vault. Signing keys are rotated every ninety days. Ask the platform team for access."
BREAD = "Sourdough needs flour, water and salt. Bake it for forty minutes in a hot oven."

QUICK = Timing(session_s=6, heartbeat_s=0.2, poll_s=0.1)
REPLIES_IN = 4
FLOOD = 200

Pool = asyncpg.Pool  # the class itself is generic in its stubs alone
Environment = dict[str, str]


@pytest.fixture
async def pool(postgres: Environment) -> AsyncIterator[Pool]:
    async with fresh_database(postgres) as opened:
        yield opened


@pytest.fixture
def addresses(valkey: Environment, door: Environment, kafka: Environment, tmp_path: Path) -> Environment:
    return valkey | door | kafka | {"OBJECT_STORE_URL": (tmp_path / "kept").as_uri()}


@pytest.fixture
async def environment(
    pool: Pool, postgres: Environment, addresses: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker's process finds in its environment, on a database of this test."""
    database = await pool.fetchval("select current_database()")
    for name, value in addresses.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("POSTGRES_DSN", urlunsplit(urlsplit(postgres["POSTGRES_DSN"])._replace(path=f"/{database}")))
    monkeypatch.setenv("MILLRACE_ENCODER", "minilm")
    monkeypatch.setenv("RETRIEVER_FURTHER_ENCODERS", "hash")
    monkeypatch.delenv("INFERENCE_URL", raising=False)


@pytest.fixture
async def live(pool: Pool, library: Library, environment: None) -> None:
    """The library's index is the live one."""
    encoder = library.encoder
    await register(pool, Index("test-index", library.collection, encoder.model_id, encoder.dimension))


@pytest.fixture
async def tools(live: None) -> AsyncIterator[Tools]:
    """The retriever's own tools, with the library's index live."""
    async with open_tools() as opened:
        yield opened


async def replied(asked: ChatRequest, tools: Tools) -> ChatReply:
    (handed,) = await retrieve(delivery(asked), tools)
    if isinstance(handed.body, ChatReply):
        return handed.body
    assert isinstance(handed.body, ChatPrompt)
    async with open_answerer() as answerer:
        (reply, *_) = await infer(delivery(handed.body), Answering(answerer, InferenceSettings()))
    assert isinstance(reply.body, ChatReply)
    return reply.body


def name_of(name: str) -> UUID:
    return document_id("acme", "src_a", name)


async def test_a_question_is_answered_with_a_literal_quote(library: Library, tools: Tools) -> None:
    await library.add(document(KEYS, external_id="keys", title="Keys"), document(BREAD, external_id="bread"))
    reply = await replied(request("How often are the signing keys rotated?"), tools)
    assert reply.text == "Signing keys are rotated every ninety days. [1]"
    (citation,) = reply.citations
    assert citation.document_id == name_of("keys")
    assert KEYS[citation.start : citation.end] == citation.quote
    assert reply.support is not None
    assert reply.support > 0.9
    # the second time the question's vector comes from the cache: the same answer
    assert (await replied(request("How often are the signing keys rotated?"), tools)).text == reply.text


async def test_a_question_that_the_sources_do_not_answer_is_not_answered(library: Library, tools: Tools) -> None:
    await library.add(document(KEYS, external_id="keys", title="Keys"), document(BREAD, external_id="bread"))
    reply = await replied(request("Which team won the football world cup in 1998?"), tools)
    assert reply.abstained
    assert reply.citations == ()
    assert "Keys [" in reply.text


async def test_a_search_is_answered_by_the_retriever(library: Library, tools: Tools) -> None:
    await library.add(document(KEYS, external_id="keys"), document(BREAD, external_id="bread"))
    reply = await replied(request("bread in the oven", purpose="search", top_k=1), tools)
    assert [one.document_id for one in reply.passages] == [name_of("bread")]
    assert reply.served_by == "retriever"


async def test_without_a_live_index_the_question_waits(pool: Pool) -> None:
    live = LiveIndex(pool, ttl_s=60)
    with pytest.raises(Transient, match="no index is live"):
        await live.current()
    await register(pool, Index("first", "c", "m", 2))
    # what failed is asked again at once; what was read is believed for the time that was set
    assert (await live.current()).index_id == "first"
    await pool.execute("update indexes set state = 'retired'")
    assert (await live.current()).index_id == "first"


async def test_a_switch_of_the_live_index_is_seen_and_an_outage_is_not(pool: Pool) -> None:
    await register(pool, Index("first", "c", "m", 2))
    live = LiveIndex(pool, ttl_s=0)
    assert (await live.current()).index_id == "first"
    await register(pool, Index("second", "d", "n", 2))
    await pool.execute("update indexes set state = 'retired' where index_id = 'first'")
    await pool.execute("update indexes set state = 'live' where index_id = 'second'")
    assert (await live.current()).index_id == "second"
    await pool.execute("alter table indexes rename to hidden")
    assert (await live.current()).index_id == "second"


async def test_a_model_that_is_not_open_here_waits_for_the_operator(library: Library) -> None:
    encoders = Encoders([library.encoder])
    dimension = library.encoder.dimension
    assert encoders.of(Index("i", "c", library.encoder.model_id, dimension)) is library.encoder
    for index in (Index("i", "c", "other-model", dimension), Index("i", "c", library.encoder.model_id, 2)):
        with pytest.raises(Transient, match="RETRIEVER_FURTHER_ENCODERS"):
            encoders.of(index)


@asynccontextmanager
async def replies_from_now_on(bootstrap: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(CHAT_REPLIES.name, REPLIES_IN)])
        await consumer.seek_to_end()
        yield consumer
    finally:
        await consumer.stop()


@pytest.fixture
def objects(environment: None) -> ObjectStore:
    return ObjectStore.open(os.environ["OBJECT_STORE_URL"])


@pytest.fixture
async def publisher(kafka: Environment, objects: ObjectStore) -> AsyncIterator[Publisher]:
    opened = await Publisher.open([kafka["KAFKA_BOOTSTRAP_SERVERS"]], objects)
    yield opened
    await opened.close()


async def ask(publisher: Publisher, workspace: str, gateway: str) -> ChatRequest:
    """Put a search on the log, into the same partition as all others."""
    asked = request(
        f"Bread or keys, {uuid4()}?",
        workspace=workspace,
        purpose="search",
        conversation_id=uuid4(),
        reply_to=ReplyTo(partition=REPLIES_IN, gateway=gateway),
    )
    envelope = new_envelope(asked, id=asked.request_id, source="/test")
    await publisher.publish(CHAT_REQUESTS, asked, envelope, partition=0)
    return asked


@asynccontextmanager
async def at_work(publisher: Publisher, objects: ObjectStore, gateway: str) -> AsyncIterator[AsyncIterator[ChatReply]]:
    """Run the worker; yield what it replies to `gateway`."""
    bootstrap = os.environ["KAFKA_BOOTSTRAP_SERVERS"]
    runtime = Runtime(worker, [bootstrap], publisher, objects, timing=QUICK)
    async with replies_from_now_on(bootstrap) as consumer, asyncio.timeout(90):
        running = asyncio.create_task(runtime.run())
        try:
            yield replies_to(gateway, consumer, objects)
        finally:
            runtime.stop()
            await running


async def replies_to(gateway: str, consumer: AIOKafkaConsumer, objects: ObjectStore) -> AsyncIterator[ChatReply]:
    async for record in consumer:
        reply = await decode(record, CHAT_REPLIES, objects)
        if reply is not None and reply.body.gateway == gateway:
            yield reply.body


async def test_a_single_search_overtakes_another_workspaces_flood(
    library: Library, live: None, publisher: Publisher, objects: ObjectStore
) -> None:
    """All on the log before the worker starts, the single one last, in one partition: the hardest case."""
    await library.add(document(BREAD, workspace="flood"), document(KEYS, workspace="single"))
    gateway = f"gateway-{uuid4()}"
    for workspace in (*["flood"] * FLOOD, "single"):
        await ask(publisher, workspace, gateway)
    came_before = 0
    async with at_work(publisher, objects, gateway) as replies:
        async for reply in replies:
            if reply.workspace == "single":
                break
            came_before += 1
    assert came_before < FLOOD / 4


async def test_what_was_cancelled_while_no_worker_ran_is_not_searched_for(
    library: Library, live: None, publisher: Publisher, objects: ObjectStore
) -> None:
    await library.add(document(BREAD, workspace="gone"), document(KEYS, workspace="single"))
    gateway = f"gateway-{uuid4()}"
    gone, other = [await ask(publisher, workspace, gateway) for workspace in ("gone", "single")]
    # The second is nobody's to cancel from another workspace.
    for asked in (gone, other):
        cancel = ChatCancel(workspace="gone", request_id=asked.request_id, reason="disconnected")
        await publisher.publish(CHAT_CANCELS, cancel, new_envelope(cancel, id=uuid4(), source="/test"))
    replied: dict[UUID, ChatReply] = {}
    async with at_work(publisher, objects, gateway) as replies:
        async for reply in replies:
            replied[reply.request_id] = reply
            if len(replied) == 2:
                break
    cancelled = replied[gone.request_id].error
    assert cancelled is not None
    assert cancelled.code == "cancelled"
    assert replied[other.request_id].passages
