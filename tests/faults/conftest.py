"""Servers, workers and a gateway to break."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from tests.eventually import eventually
from tests.faults.arena import Arena
from tests.faults.arena import arena as arena_of_servers
from tests.faults.running import Running, gateway, host, hosting
from topics.catalogue import RAW_EVENTS

WORKERS = ("normalizer", "embedder", "graph_builder", "ledger", "forgetter", "retriever", "inference")


@pytest.fixture(scope="session")
async def servers_to_break() -> AsyncIterator[Arena]:
    """Servers that only these tests use."""
    async with arena_of_servers() as made:
        yield made


@pytest.fixture
async def arena(servers_to_break: Arena) -> AsyncIterator[Arena]:
    """The servers, whole at the start of each test and mended after it."""
    await servers_to_break.heal()
    yield servers_to_break
    await servers_to_break.heal()


class Kept:
    """A process that tests share, started anew for the test after one that ended it."""

    def __init__(self) -> None:
        self.running: Running | None = None


@pytest.fixture(scope="session")
async def kept_mill() -> AsyncIterator[Kept]:
    kept = Kept()
    yield kept
    if kept.running is not None:
        await kept.running.kill()


@pytest.fixture(scope="session")
async def kept_gateway() -> AsyncIterator[Kept]:
    kept = Kept()
    yield kept
    if kept.running is not None:
        await kept.running.kill()


@pytest.fixture
async def mill(arena: Arena, kept_mill: Kept) -> Running:
    """The workers in one process, behind the proxies, ready."""
    if kept_mill.running is None or not kept_mill.running.lives:
        kept_mill.running = host(arena.environment, arena.folder, *WORKERS)
    await kept_mill.running.ready()
    return kept_mill.running


@pytest.fixture
async def door(arena: Arena, kept_gateway: Kept) -> Running:
    """A gateway behind the proxies, ready."""
    if kept_gateway.running is None or not kept_gateway.running.lives:
        kept_gateway.running = gateway(arena.environment, arena.folder)
    await kept_gateway.running.ready()
    return kept_gateway.running


@pytest.fixture
def workspace() -> str:
    """A workspace of this test's own."""
    return f"w{uuid4().hex[:12]}"


@pytest.fixture
def calm() -> str:
    """Another workspace, for the same work done in peace: its name is as long."""
    return f"w{uuid4().hex[:12]}"


@pytest.fixture
async def nothing_left(arena: Arena, kept_mill: Kept) -> None:
    """The shared workers have ended, and no event is left of another test: a death armed now meets this one's."""
    if kept_mill.running is not None:
        await kept_mill.running.kill()
    async with hosting(arena.environment, arena.folder, "normalizer"):
        await eventually(lambda: arena.done("millrace.normalizer", RAW_EVENTS), within=60, every=0.2)
