"""A keeper at work on short Python programs."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from infra.local import keeper as keeping
from infra.local import processes
from infra.local.keeper import Keeper, pause
from infra.local.program import NotReady, Program, StartError, Tell
from infra.local.record import ProcessRecord, State
from infra.local.table import Unit
from tests.eventually import eventually

WAITS = "import time; time.sleep(600)"


async def at_once() -> None:
    """Ready at once."""


async def never() -> None:
    raise NotReady("still loading")


def unit(
    code: str = WAITS,
    ready: Callable[[], Awaitable[None]] = at_once,
    prepare: Callable[[Tell], Awaitable[None]] | None = None,
) -> Unit:
    program = Program("test", (sys.executable, "-c", code), ready, start_within_s=0.5, stop_within_s=5)
    return Unit("test", program=lambda: program, **({"prepare": prepare} if prepare else {}))


@asynccontextmanager
async def kept(one: Unit, folder: Path, record: ProcessRecord | None = None) -> AsyncIterator[Keeper]:
    keeper = Keeper(one, record or ProcessRecord("test"), folder / "log", lambda: None, tied=True)
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await keeper.stop()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "FIRST_PAUSE_S", 0.05)


async def test_a_program_is_ready_once_it_answers_and_gone_once_stopped(tmp_path: Path) -> None:
    answering = asyncio.Event()

    async def ready() -> None:
        if not answering.is_set():
            raise NotReady("still loading")

    async with kept(unit(ready=ready), tmp_path) as keeper:
        await eventually(lambda: (keeper.record.state, keeper.record.detail) == (State.STARTING, "still loading"))
        assert not keeper.ready.done()
        answering.set()
        await keeper.ready
        assert keeper.record.state is State.READY
        child = processes.adopt(keeper.record)
    assert keeper.record.state is State.STOPPED
    assert keeper.record.pid is None
    assert child is None or not child.lives()


async def test_a_program_that_is_killed_is_started_again(tmp_path: Path) -> None:
    async with kept(unit(), tmp_path) as keeper:
        await keeper.ready
        first = keeper.record.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: keeper.record.state is State.READY and keeper.record.pid != first)
        assert keeper.record.restarts == 1


async def test_a_program_that_ends_by_itself_is_tried_again_and_again(tmp_path: Path) -> None:
    async with kept(unit("import sys; sys.exit(3)", ready=never), tmp_path) as keeper:
        await eventually(lambda: keeper.record.restarts >= 2 and "ended with status 3" in keeper.record.detail)
        assert not keeper.ready.done()


async def test_a_program_that_does_not_answer_is_replaced(tmp_path: Path) -> None:
    async with kept(unit(ready=never), tmp_path) as keeper:
        first = await eventually(lambda: keeper.record.pid)
        await eventually(lambda: keeper.record.pid != first and keeper.record.restarts)
        assert processes.find(first, keeper.record.started, keeper.record.program) is None


async def test_a_server_that_cannot_be_prepared_fails_at_once(tmp_path: Path) -> None:
    async def broken(tell: Tell) -> None:
        raise StartError("no Java")

    async with kept(unit(prepare=broken), tmp_path) as keeper:
        with pytest.raises(StartError, match="test: no Java"):
            await keeper.ready
        assert (keeper.record.state, keeper.record.detail) == (State.FAILED, "no Java")


async def test_a_running_server_outlives_a_fault_while_it_is_prepared_again(tmp_path: Path) -> None:
    calls = []

    async def second_fails(tell: Tell) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError("disk full")

    async with kept(unit(prepare=second_fails), tmp_path) as keeper:
        await keeper.ready
        first = keeper.record.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: keeper.record.state is State.READY and keeper.record.pid != first)
        assert len(calls) == 3


async def test_a_step_is_done_once_prepared(tmp_path: Path) -> None:
    async with kept(Unit("test"), tmp_path) as keeper:
        await keeper.ready
    assert keeper.record.state is State.DONE


async def test_what_an_earlier_keeper_left_running_is_adopted(tmp_path: Path) -> None:
    one = unit()
    assert one.program is not None
    child = processes.spawn(one.program(), os.environ, tmp_path / "log", tied=False)
    record = ProcessRecord("test", State.READY, pid=child.pid, started=child.started, program=child.program)
    record.fingerprint = one.program().fingerprint
    async with kept(one, tmp_path, record) as keeper:
        await keeper.ready
        assert (record.pid, record.adopted) == (child.pid, True)
        os.kill(child.pid, signal.SIGKILL)
        await child.exited()
        await eventually(lambda: keeper.record.state is State.READY and keeper.record.pid != child.pid)
    assert not child.lives()


@pytest.mark.parametrize("change", ["command", "silence"])
async def test_what_is_another_program_or_silent_is_replaced(
    tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "ADOPTED_WITHIN_S", 0.3)
    asked = []

    async def silent_at_first() -> None:
        asked.append(1)
        if change == "silence" and len(asked) < 6:
            raise NotReady("silent")

    one = unit(ready=silent_at_first)
    assert one.program is not None
    child = processes.spawn(one.program(), os.environ, tmp_path / "log", tied=False)
    record = ProcessRecord("test", State.READY, pid=child.pid, started=child.started, program=child.program)
    record.fingerprint = "another" if change == "command" else one.program().fingerprint
    async with kept(one, tmp_path, record) as keeper:
        await keeper.ready
        assert record.pid != child.pid
        assert not record.adopted
    assert not child.lives()


def test_pauses_double_up_to_a_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "FIRST_PAUSE_S", 0.5)
    assert 0.4 <= pause(1) <= 0.6
    assert 3.2 <= pause(4) <= 4.8
    assert all(6.4 <= pause(ends) <= 9.6 for ends in (8, 50, 10_000))


async def test_a_program_that_falls_silent_is_replaced_where_it_is_asked(tmp_path: Path) -> None:
    silent = asyncio.Event()

    async def ready() -> None:
        if silent.is_set():
            raise NotReady("hangs")

    quiet = unit(ready=ready)
    assert quiet.program is not None
    asked = replace(quiet.program(), ask_every_s=0.02, silent_s=0.1)
    async with kept(Unit("test", program=lambda: asked), tmp_path) as keeper:
        await keeper.ready
        first = keeper.record.pid
        silent.set()
        await eventually(lambda: keeper.record.state is State.RESTARTING)
        silent.clear()
        await eventually(lambda: keeper.record.state is State.READY and keeper.record.pid != first)
        assert keeper.record.restarts == 1
