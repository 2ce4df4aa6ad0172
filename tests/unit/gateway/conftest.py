"""The gateway's application without servers: a recorded log, keys and sources in memory, replies made by the test."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import httpx
import pytest
from cryptography.fernet import Fernet
from fastapi import FastAPI
from openai import AsyncOpenAI

from gateway.app import create_app
from gateway.auth import KeyCheck
from gateway.connections import Connections, Graph
from gateway.recent import Recent
from gateway.request_ids import RequestIds
from gateway.settings import GatewaySettings
from infra.errors import Transient
from infra.kafka.answers import Replies
from infra.kafka.codec import Encoded
from infra.kafka.redrive import GoneError, Place
from infra.postgres.answers import Finished
from infra.postgres.indexes import Index
from infra.postgres.keys import PresentedKey, Principal
from infra.postgres.sources import SecretBox, Source
from infra.postgres.turns import Turns
from infra.redis.asked import Asked
from schemas.chat import ChatReply, ChatRequest, ReplyTo
from schemas.dead_letters import DeadLetter
from schemas.embedding import EmbeddingRequest
from schemas.envelope import Envelope
from schemas.event import Event
from topics.catalogue import CHAT_REQUESTS, EMBEDDING_REQUESTS, Topic

KEY = f"mr_{'a' * 12}_{'1' * 64}"
OTHER_KEY = f"mr_{'b' * 12}_{'2' * 64}"
GITHUB_SECRET = "it-is-a-secret-to-everybody"
WEBHOOK_SECRET = "whsec_" + "c2VjcmV0" * 4

Answer = Callable[[ChatRequest], Sequence[ChatReply]]


def source(source_id: str, connector: str, *secrets: str, workspace: str = "acme", enabled: bool = True) -> Source:
    created = datetime(2026, 1, 1, tzinfo=UTC)
    return Source(source_id, workspace, connector, source_id, secrets, {}, enabled, created)


@dataclass
class Log:
    """Records what is published; `down` makes every publication fail as an unreachable broker does."""

    published: list[tuple[Topic[Any], Event, Envelope]] = field(default_factory=list)
    sent: list[Encoded] = field(default_factory=list)
    down: bool = False
    answer: Answer = lambda request: ()
    encode: Callable[[EmbeddingRequest], Sequence[ChatReply]] = lambda request: ()
    waiting: dict[UUID, list[Replies]] = field(default_factory=dict)
    kept: list[ChatReply] = field(default_factory=list)
    """The replies on the log."""
    ready: bool = True

    async def publish(self, topic: Topic[Any], body: Event, envelope: Envelope, partition: int | None = None) -> None:
        if self.down:
            raise Transient("kafka", "no acknowledgement within 4 s")
        self.published.append((topic, body, envelope))
        if topic is CHAT_REQUESTS:
            request = cast(ChatRequest, body)
            self.say(*self.answer(request))
        if topic is EMBEDDING_REQUESTS:
            self.say(*self.encode(cast(EmbeddingRequest, body)))

    def say(self, *replies: ChatReply) -> None:
        """Put replies on the log, where whoever waits for them hears them."""
        for reply in replies:
            self.kept.append(reply)
            for each in self.waiting.get(reply.request_id, []):
                each.put(reply)

    async def send(self, records: Sequence[Encoded]) -> None:
        if self.down:
            raise Transient("kafka", "no acknowledgement within 4 s")
        self.sent += records

    async def read(self, place: Place) -> DeadLetter:
        raise GoneError("nothing is there")

    @property
    def reply_to(self) -> ReplyTo:
        return ReplyTo(partition=3, gateway="gw-1")

    async def wait_ready(self, within_s: float) -> None:
        if not self.ready:
            raise Transient("kafka", "replies cannot be read yet")

    @contextmanager
    def expect(self, request_id: UUID, workspace: str) -> Iterator[Replies]:
        replies = Replies(workspace)
        self.waiting.setdefault(request_id, []).append(replies)
        try:
            yield replies
        finally:
            self.waiting[request_id].remove(replies)
            if not self.waiting[request_id]:
                del self.waiting[request_id]

    @contextmanager
    def follow(self, request_id: UUID, workspace: str, partition: int, since: datetime) -> Iterator[Replies]:
        with self.expect(request_id, workspace) as replies:
            for reply in self.kept:
                if (reply.request_id, reply.workspace) == (request_id, workspace):
                    replies.put(reply)
            replies.caught_up.set()
            yield replies

    @property
    def bodies(self) -> list[Any]:
        return [body for _, body, _ in self.published]


@dataclass
class Memory:
    """What was asked under a key; `down` makes it fail as an unreachable server does."""

    kept: dict[tuple[str, UUID], Asked] = field(default_factory=dict)
    came: Counter[tuple[str, UUID]] = field(default_factory=Counter)
    begun_at: dict[tuple[str, UUID], datetime] = field(default_factory=dict)
    down: bool = False

    async def claim(self, workspace: str, request_id: UUID, asked: Asked) -> Asked | None:
        earlier = await self.find(workspace, request_id)
        if earlier is None:
            await self.keep(workspace, request_id, asked)
        return earlier

    async def keep(self, workspace: str, request_id: UUID, asked: Asked) -> None:
        self.check()
        self.kept[workspace, request_id] = asked

    async def forget(self, workspace: str, request_id: UUID) -> None:
        self.check()
        self.kept.pop((workspace, request_id), None)

    async def find(self, workspace: str, request_id: UUID) -> Asked | None:
        self.check()
        return self.kept.get((workspace, request_id))

    async def visit(self, workspace: str, request_id: UUID) -> int:
        self.check()
        self.came[workspace, request_id] += 1
        return self.came[workspace, request_id]

    async def visits(self, workspace: str, request_id: UUID) -> int:
        self.check()
        return self.came[workspace, request_id]

    async def begin(self, workspace: str, conversation_id: UUID, at: datetime) -> None:
        self.check()
        self.begun_at.setdefault((workspace, conversation_id), at)

    async def begun(self, workspace: str, conversation_id: UUID) -> datetime | None:
        self.check()
        return self.begun_at.get((workspace, conversation_id))

    def check(self) -> None:
        if self.down:
            raise Transient("redis", "ConnectionError")


@dataclass
class Door:
    """The application, a client of workspace `acme`, and what stands behind."""

    app: FastAPI
    client: httpx.AsyncClient
    log: Log
    memory: Memory
    connections: Connections
    sources: dict[str, Source]
    principals: dict[str, Principal]
    asked_keys: list[str]
    archive: dict[tuple[str, UUID], Finished]
    turns: dict[tuple[str, UUID], Turns]


@pytest.fixture
def settings() -> GatewaySettings:
    return GatewaySettings(
        max_hook_bytes=4096, max_upload_bytes=8192, max_request_bytes=2048, body_timeout_s=0.2, search_timeout_s=0.1
    )


@pytest.fixture
async def door(settings: GatewaySettings) -> AsyncIterator[Door]:
    log, memory = Log(), Memory()
    sources = {
        each.source_id: each
        for each in (
            source("src_github", "github", GITHUB_SECRET),
            source("src_generic", "generic", WEBHOOK_SECRET),
            source("src_files", "files"),
            source("src_off", "github", GITHUB_SECRET, enabled=False),
            source("src_files_off", "files", enabled=False),
            source("src_foreign", "files", workspace="globex"),
        )
    }
    principals = {"a" * 12: Principal("a" * 12, "acme"), "b" * 12: Principal("b" * 12, "globex")}
    asked: list[str] = []

    async def verify(key: PresentedKey) -> Principal | None:
        asked.append(key.key_id)
        return principals.get(key.key_id)

    async def find(source_id: str) -> Source | None:
        return sources.get(source_id)

    connections = Connections(
        settings=settings,
        pool=cast(Any, None),
        publisher=log,
        replies=log,
        letters=log,
        graph=Graph(lambda: cast(Any, None)),
        box=SecretBox(Fernet.generate_key().decode()),
        reply_log=log,
        asked=memory,
        request_ids=RequestIds("a key of these tests"),
    )
    connections.keys = KeyCheck(verify, settings.key_cache_s)
    connections.sources = Recent(find, 0)
    archive: dict[tuple[str, UUID], Finished] = {}

    async def finished(workspace: str, request_id: UUID) -> Finished | None:
        return archive.get((workspace, request_id))

    connections.finished = finished
    turns: dict[tuple[str, UUID], Turns] = {}
    deleted: set[tuple[str, UUID]] = set()

    async def turns_until(workspace: str, request_id: UUID) -> Turns | None:
        return turns.get((workspace, request_id))

    connections.turns_until = turns_until

    async def is_deleted(workspace: str, conversation_id: UUID) -> bool | None:
        return True if (workspace, conversation_id) in deleted else None

    connections.is_deleted = is_deleted

    async def live(_: str) -> Index:
        return Index("hash-1", "chunks_hash-1", "hash-64", 64, "live")

    connections.live_index = Recent(live, 0)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Connections]:
        yield connections

    app = create_app(settings, opened)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://gateway",
            headers={"authorization": f"Bearer {KEY}"},
        ) as client,
    ):
        yield Door(app, client, log, memory, connections, sources, principals, asked, archive, turns)
        await connections.errands.close()


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """Yield a body in parts, so that it is sent chunked, without a declared length."""
    for part in parts:
        await asyncio.sleep(0)
        yield part


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check the shape of RFC 9457 and return the body."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["code"] == code
    assert body["status"] == status
    assert body["type"] == f"/v1/problems/{code}"
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == f"urn:uuid:{response.headers['x-request-id']}"
    return body


@pytest.fixture
async def url(door: Door) -> AsyncIterator[str]:
    """The address of the application behind a real HTTP server."""
    # Not at the top: that module needs this one.
    from tests.unit.gateway.serving import serving

    async with serving(door.app) as address:
        yield address


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's own client."""
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as opened:
        yield opened
