from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import uuid4

import asyncpg
import pytest

from infra.postgres.keys import ensure_workspace
from schemas.envelope import Envelope
from schemas.event import Event
from schemas.raw import RawEvent
from tests.databases import fresh_database
from tests.live.workers.connectors.site import Site, serve
from topics.catalogue import Topic
from workers.connectors.fetch import Fetcher
from workers.connectors.pull import Tools
from workers.connectors.settings import ConnectorsSettings

Pool = asyncpg.Pool


@pytest.fixture(scope="session")
async def pool(postgres: dict[str, str]) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    async with fresh_database(postgres) as pool:
        yield pool


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve() as running:
        yield running


@dataclass
class Log:
    """What was published, in order."""

    events: list[RawEvent] = field(default_factory=list)
    fails_with: Exception | None = None

    async def publish(self, topic: Topic[Event], body: Event, envelope: Envelope) -> None:
        if self.fails_with is not None:
            raise self.fails_with
        assert isinstance(body, RawEvent)
        assert envelope.id == body.event_id
        self.events.append(body)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def tools(pool: "asyncpg.Pool[asyncpg.Record]") -> Tools:
    return tools_on(pool)


def tools_on(pool: "asyncpg.Pool[asyncpg.Record]", *, allow_private: bool = True) -> Tools:
    settings = ConnectorsSettings.model_validate({"MILLRACE_PULL_POLL_SECONDS": 0.05, "MILLRACE_FETCH_SECONDS": 5})
    fetcher = Fetcher(max_bytes=100_000, seconds=5, allow_private=allow_private)
    return Tools(pool, fetcher, settings, chance=lambda: 0.5)


@pytest.fixture
async def workspace(pool: "asyncpg.Pool[asyncpg.Record]") -> str:
    name = f"ws-{uuid4().hex[:12]}"
    await ensure_workspace(pool, name)
    # Each test alone has sources that are due.
    await pool.execute("delete from sources")
    return name
