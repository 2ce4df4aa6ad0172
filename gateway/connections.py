"""What a gateway process holds open: the log, the ledger's database, the graph."""

import asyncio
import importlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated, Any, Protocol
from uuid import UUID

import asyncpg
from fastapi import Depends, Request

from gateway.admitting import Admission
from gateway.auth import KeyCheck
from gateway.errands import Errands
from gateway.probes import Probe, State, ask_all, probes
from gateway.queueing import Queue
from gateway.recent import Lately, Recent
from gateway.request_ids import RequestIds
from gateway.settings import Environment, GatewaySettings
from infra.kafka.answers import Replies
from infra.kafka.codec import Encoded
from infra.kafka.producer import Publisher
from infra.kafka.redrive import LetterReader, Place, RecordReader
from infra.kafka.replies import LEASE_NAME, LEASE_S, ReplyReader
from infra.kafka.reply_log import ReplyLog
from infra.objects.store import ObjectStore
from infra.postgres.answers import Finished, finished
from infra.postgres.conversations import is_deleted
from infra.postgres.indexes import Index, live
from infra.postgres.keys import PresentedKey, Principal, verify_presented
from infra.postgres.pool import open_pool
from infra.postgres.sources import SecretBox, Source, find_by_name, find_source
from infra.postgres.turns import Turns, turns_until
from infra.redis.asked import Asked, AskedRequests
from infra.redis.client import open_redis
from infra.redis.leases import Lease
from infra.redis.load import LoadBoard, LoadWatch
from infra.redis.rates import Rates, SharedRates
from infra.telemetry.logs import logger
from schemas.chat import ReplyTo
from schemas.dead_letters import DeadLetter
from schemas.envelope import Envelope
from schemas.event import Event
from topics.catalogue import CHAT_REPLIES, Topic

if TYPE_CHECKING:
    from infra.neo4j.client import GraphDriver

log = logger(__name__)

UPLOADS = "uploads"
"""Name of the source that holds what is uploaded without naming one."""

UPLOADS_AT_ONCE = 2
"""Large bodies turned into events at once: each takes about four times its size in memory while it is published."""

REMEMBERED_S = round((CHAT_REPLIES.retention or timedelta(days=1)).total_seconds())
"""How long an `Idempotency-Key` stands for its request: as long as the log holds the replies."""


class Publishes(Protocol):
    """Puts an event on the log; returns once the broker has acknowledged it. Raises Transient("kafka")."""

    async def publish(self, topic: Topic[Any], body: Event, envelope: Envelope, partition: int | None = None) -> None:
        """Publish one event."""

    async def send(self, records: Sequence[Encoded]) -> None:
        """Publish records in order."""


class ReadsLetters(Protocol):
    """Reads whole dead letters. Raises GoneError, Transient("kafka"), Permanent."""

    async def read(self, place: Place) -> DeadLetter:
        """Return the letter at a place."""


class HearsReplies(Protocol):
    """Hears the replies to this process's questions."""

    @property
    def reply_to(self) -> ReplyTo:
        """Where replies must be sent."""

    async def wait_ready(self, within_s: float) -> None:
        """Wait until replies are heard. Raises Transient("kafka")."""

    def expect(self, request_id: UUID, workspace: str) -> AbstractContextManager[Replies]:
        """Hear the replies to one request; entered before it is published."""


class FollowsReplies(Protocol):
    """Reads the replies to any request back from the log."""

    def follow(
        self, request_id: UUID, workspace: str, partition: int, since: datetime
    ) -> AbstractContextManager[Replies]:
        """Hear the replies to a request accepted at `since`, from the first to the last."""


class RemembersRequests(Protocol):
    """Remembers what was asked under a key. Raises Transient("redis")."""

    async def claim(self, workspace: str, request_id: UUID, asked: Asked) -> Asked | None:
        """Keep `asked` and return None, or return what is kept already."""

    async def keep(self, workspace: str, request_id: UUID, asked: Asked) -> None:
        """Keep `asked`."""

    async def forget(self, workspace: str, request_id: UUID) -> None:
        """Keep nothing."""

    async def find(self, workspace: str, request_id: UUID) -> Asked | None:
        """Return what is kept."""

    async def visit(self, workspace: str, request_id: UUID) -> int:
        """Count a client that comes back."""

    async def visits(self, workspace: str, request_id: UUID) -> int:
        """Return how many have."""

    async def begin(self, workspace: str, conversation_id: UUID, at: datetime) -> None:
        """Keep that a conversation was begun."""

    async def begun(self, workspace: str, conversation_id: UUID) -> datetime | None:
        """Return when it was."""


class Graph:
    """Opens the graph's driver when the first question comes: it weighs 33 MB, and most processes never ask."""

    def __init__(self, open_driver: "Callable[[], AbstractAsyncContextManager[GraphDriver]]") -> None:
        self._open = open_driver
        self._stack = AsyncExitStack()
        self._driver: GraphDriver | None = None
        self._opening = asyncio.Lock()

    async def driver(self) -> "GraphDriver":
        """Return the driver. Nothing is connected until it is used."""
        async with self._opening:
            if self._driver is None:
                # Importing it takes the better part of a second, which must not stand in other requests' way.
                await asyncio.to_thread(importlib.import_module, "neo4j")
                self._driver = await self._stack.enter_async_context(self._open())
        return self._driver

    async def close(self) -> None:
        """Close the driver if it was opened."""
        await self._stack.aclose()


@dataclass
class Connections:
    """Everything that a route may use."""

    settings: GatewaySettings
    pool: "asyncpg.Pool[asyncpg.Record]"
    publisher: Publishes
    replies: HearsReplies
    letters: ReadsLetters
    graph: Graph
    box: SecretBox
    reply_log: FollowsReplies
    asked: RemembersRequests
    request_ids: RequestIds
    probes: Mapping[str, Probe] = field(default_factory=dict)
    uploads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UPLOADS_AT_ONCE))
    rates: Rates | None = None
    """Counts events over all gateways; without it this one counts for itself."""
    queue: Queue = field(default_factory=Queue)
    """Without the workers' word it admits all."""
    errands: Errands = field(default_factory=Errands)
    begun: Lately = field(default_factory=Lately)
    """Conversations begun here under an id of the asker's own, by workspace and id."""
    conversation_ids: RequestIds = field(init=False)
    keys: KeyCheck = field(init=False)
    admission: Admission = field(init=False)
    finished: Callable[[str, UUID], Awaitable[Finished | None]] = field(init=False)
    """Answers of a workspace by the ids of their requests."""
    turns_until: Callable[[str, UUID], Awaitable[Turns | None]] = field(init=False)
    """The conversation of a workspace up to the answer to a request."""
    is_deleted: Callable[[str, UUID], Awaitable[bool | None]] = field(init=False)
    """Whether a conversation of a workspace was deleted; None if there is none."""
    sources: Recent[str, Source | None] = field(init=False)
    upload_sources: Recent[str, Source | None] = field(init=False)
    live_index: Recent[str, Index] = field(init=False)
    """The index that answers questions. Raises Transient while there is none."""
    readiness: Recent[str, dict[str, State]] = field(init=False)

    def __post_init__(self) -> None:
        async def verify(key: PresentedKey) -> Principal | None:
            return await verify_presented(self.pool, key)

        async def answered(workspace: str, request_id: UUID) -> Finished | None:
            return await finished(self.pool, workspace, request_id)

        async def turns(workspace: str, request_id: UUID) -> Turns | None:
            most = self.settings.history_turns, self.settings.history_characters
            return await turns_until(self.pool, workspace, request_id, *most)

        async def deleted(workspace: str, conversation_id: UUID) -> bool | None:
            return await is_deleted(self.pool, workspace, conversation_id)

        async def find(source_id: str) -> Source | None:
            return await find_source(self.pool, self.box, source_id)

        async def find_uploads(workspace: str) -> Source | None:
            return await find_by_name(self.pool, workspace, UPLOADS)

        async def ask(_: str) -> dict[str, State]:
            return await ask_all(self.probes)

        async def live_index(_: str) -> Index:
            return await live(self.pool)

        self.conversation_ids = self.request_ids.of_conversations()
        self.admission = Admission(self.settings.event_rate, self.rates)
        self.finished = answered
        self.turns_until = turns
        self.is_deleted = deleted
        self.keys = KeyCheck(verify, self.settings.key_cache_s)
        self.sources = Recent(find, self.settings.source_cache_s)
        self.upload_sources = Recent(find_uploads, self.settings.source_cache_s)
        self.live_index = Recent(live_index, self.settings.source_cache_s)
        # Anyone may ask: however many do, each dependency is asked once a second.
        self.readiness = Recent(ask, 1.0)


@asynccontextmanager
async def open_connections(environment: Environment) -> AsyncIterator[Connections]:
    """Yield what the gateway needs, and flush and close it at the end. Nothing has to be up yet: what is away is
    reported by /health/ready and answered with 503.
    """
    async with AsyncExitStack() as stack:
        objects = ObjectStore.open(environment.objects.url)
        pool = await stack.enter_async_context(open_pool(environment.postgres))
        settings = environment.gateway
        publisher = await Publisher.open(environment.kafka.bootstrap, objects, settings.publish_timeout_s)
        stack.push_async_callback(publisher.close, settings.publish_timeout_s)
        redis = await stack.enter_async_context(open_redis(environment.redis))
        writing = await LoadWatch.open(LoadBoard(redis, "inference"))
        stack.push_async_callback(writing.close)
        searching = await LoadWatch.open(LoadBoard(redis, "retriever"))
        stack.push_async_callback(searching.close)
        lease = Lease(redis, LEASE_NAME, CHAT_REPLIES.partitions, LEASE_S)
        replies = await ReplyReader.open(environment.kafka.bootstrap, _instance(environment), objects, lease)
        stack.push_async_callback(_close, replies.close, settings.publish_timeout_s)
        reply_log = ReplyLog(environment.kafka.bootstrap, objects)
        stack.push_async_callback(_close, reply_log.close, settings.publish_timeout_s)
        records = RecordReader(environment.kafka.bootstrap)
        stack.push_async_callback(records.close)
        graph = Graph(lambda: _open_graph(environment))
        stack.push_async_callback(graph.close)
        connections = Connections(
            settings=settings,
            pool=pool,
            publisher=publisher,
            replies=replies,
            letters=LetterReader(records, objects),
            graph=graph,
            box=SecretBox.from_settings(environment.secrets),
            reply_log=reply_log,
            asked=AskedRequests(redis, REMEMBERED_S),
            request_ids=RequestIds(environment.secrets.secret_key.get_secret_value()),
            probes=probes(environment, pool),
            rates=SharedRates(redis, settings.event_rate),
            queue=Queue(writing.loads, searching.loads),
        )
        stack.push_async_callback(connections.errands.close)
        yield connections


async def _close(close: Callable[[], Awaitable[None]], within_s: float) -> None:
    """Flush and close. Without a broker that never ends: what is left then was answered with 503, so nothing that a
    client was promised is lost.
    """
    try:
        async with asyncio.timeout(within_s):
            await close()
    except TimeoutError:
        log.warning("the broker did not answer while closing")


def _open_graph(environment: Environment) -> "AbstractAsyncContextManager[GraphDriver]":
    from infra.neo4j.client import open_driver

    return open_driver(environment.neo4j)


def _instance(environment: Environment) -> str:
    """Return an id that no other process has, not even this one's successor: its replies are not for us."""
    return f"{environment.process.instance or socket.gethostname()}:{os.getpid()}:{token_hex(4)}"


async def _connections(request: Request) -> Connections:
    connections: Connections = request.app.state.connections
    return connections


Held = Annotated[Connections, Depends(_connections)]
