"""The gateway's application without servers: a recorded log, keys and sources in memory, replies made by the test."""

import asyncio
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

from gateway.app import create_app
from gateway.auth import KeyCheck
from gateway.connections import Connections, Graph
from gateway.recent import Recent
from gateway.settings import GatewaySettings
from infra.errors import Transient
from infra.kafka.codec import Encoded
from infra.kafka.redrive import GoneError, Place
from infra.kafka.replies import Replies
from infra.postgres.keys import PresentedKey, Principal
from infra.postgres.sources import SecretBox, Source
from schemas.chat import ChatReply, ChatRequest, ReplyTo
from schemas.dead_letters import DeadLetter
from schemas.envelope import Envelope
from schemas.event import Event
from topics.catalogue import CHAT_REQUESTS, Topic

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
    waiting: dict[UUID, Replies] = field(default_factory=dict)
    ready: bool = True

    async def publish(self, topic: Topic[Any], body: Event, envelope: Envelope, partition: int | None = None) -> None:
        if self.down:
            raise Transient("kafka", "no acknowledgement within 4 s")
        self.published.append((topic, body, envelope))
        if topic is CHAT_REQUESTS:
            request = cast(ChatRequest, body)
            for reply in self.answer(request):
                self.waiting[request.request_id].put(reply)

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
        self.waiting[request_id] = Replies(workspace)
        try:
            yield self.waiting[request_id]
        finally:
            del self.waiting[request_id]

    @property
    def bodies(self) -> list[Any]:
        return [body for _, body, _ in self.published]


@dataclass
class Door:
    """The application, a client of workspace `acme`, and what stands behind."""

    app: FastAPI
    client: httpx.AsyncClient
    log: Log
    connections: Connections
    sources: dict[str, Source]
    principals: dict[str, Principal]
    asked_keys: list[str]


@pytest.fixture
def settings() -> GatewaySettings:
    return GatewaySettings(
        max_hook_bytes=4096, max_upload_bytes=8192, max_request_bytes=2048, body_timeout_s=0.2, search_timeout_s=0.1
    )


@pytest.fixture
async def door(settings: GatewaySettings) -> AsyncIterator[Door]:
    log = Log()
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
    )
    connections.keys = KeyCheck(verify, settings.key_cache_s)
    connections.sources = Recent(find, 0)

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
        yield Door(app, client, log, connections, sources, principals, asked)


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
