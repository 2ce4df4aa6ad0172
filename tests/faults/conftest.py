"""Servers, workers and a gateway to break, and the table of faults at the end of a run."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.faults.arena import Arena
from tests.faults.arena import arena as arena_of_servers
from tests.faults.catalogue import FAULTS
from tests.faults.running import Running, gateway, host

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


# The table -----------------------------------------------------------------------------------------------------------

_outcomes: dict[int, list[tuple[str, float]]] = defaultdict(list)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Note how each test of a fault ended; a set-up that fails counts as the test's failure."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.when == "call" or report.outcome == "failed":
        for mark in item.iter_markers("fault"):
            for number in mark.args:
                assert number in FAULTS, f"{item.nodeid}: no fault {number}"
                _outcomes[number].append((report.outcome, report.duration))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print number, fault, tests, seconds and verdict; faults that this run left out are named last."""
    if not _outcomes:
        return
    terminalreporter.section("faults")
    for number, name in FAULTS.items():
        if found := _outcomes.get(number):
            bad = sum(outcome != "passed" for outcome, _ in found)
            verdict = "passed" if not bad else f"FAILED ({bad} of {len(found)})"
            seconds = sum(duration for _, duration in found)
            terminalreporter.write_line(f"{number:>3}  {name:<42} {len(found):>2} tests {seconds:>6.1f} s  {verdict}")
    left = [str(number) for number in FAULTS if number not in _outcomes]
    if left:
        terminalreporter.write_line(f"not in this run: {', '.join(left)}")
