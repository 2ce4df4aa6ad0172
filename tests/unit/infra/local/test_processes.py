"""Real child processes: short Python programs."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from infra.local import processes
from infra.local.processes import Child
from infra.local.program import Account, Program, StartError
from infra.local.record import ProcessRecord
from tests.eventually import eventually

WAITS = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAITS}"
FAMILY = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {WAITS!r}]); {WAITS}"
ESTRANGED = (
    f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {WAITS!r}], start_new_session=True); {WAITS}"
)


async def answers() -> None:
    """Ready at once."""


def program(code: str, **more: object) -> Program:
    return Program("test", (sys.executable, "-c", code), answers, **more)  # type: ignore[arg-type]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "test.log"


async def spawned(code: str, log: Path, *, lines: int = 1, tied: bool = False, **more: object) -> Child:
    child = processes.spawn(program(code, **more), os.environ, log, tied=tied)
    await eventually(lambda: log.read_text().count("up") >= lines)
    return child


@pytest.mark.parametrize("tied", [False, True])
async def test_a_child_writes_its_log_in_a_group_of_its_own_and_ends_when_asked(log: Path, tied: bool) -> None:
    child = await spawned(WAITS, log, tied=tied)
    assert os.getpgid(child.pid) == child.pid
    assert log.stat().st_mode & 0o777 == 0o600
    assert child.lives()
    assert await processes.stop(child, signal.SIGTERM, 10)
    assert not child.lives()
    assert await child.exited() == -signal.SIGTERM


async def test_a_stubborn_child_is_killed(log: Path) -> None:
    child = await spawned(STUBBORN, log)
    assert not await processes.stop(child, signal.SIGTERM, 0.3)
    assert not child.lives()


@pytest.mark.parametrize("code", [FAMILY, ESTRANGED])
async def test_what_a_child_started_ends_with_it(log: Path, code: str) -> None:
    child = await spawned(code, log, lines=2)
    (grandchild,) = psutil.Process(child.pid).children()
    await processes.stop(child, signal.SIGTERM, 10)
    assert not grandchild.is_running()


async def test_a_child_that_is_killed_is_noticed_at_once(log: Path) -> None:
    child = await spawned(WAITS, log)
    os.kill(child.pid, signal.SIGKILL)
    assert await child.exited() == -signal.SIGKILL


async def test_waiting_works_without_process_descriptors(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refused, raising=False)
    child = await spawned(WAITS, log)
    os.kill(child.pid, signal.SIGKILL)
    assert await child.exited() == -signal.SIGKILL


async def test_a_recorded_process_is_adopted_and_can_be_waited_for(log: Path) -> None:
    child = await spawned(WAITS, log)
    record = ProcessRecord("test", pid=child.pid, started=child.started, program=child.program)
    adopted = processes.adopt(record)
    assert adopted is not None
    assert adopted.popen is None
    assert adopted.lives()
    assert await processes.stop(adopted, signal.SIGTERM, 10)
    assert await adopted.exited() is None
    child.popen and child.popen.wait()
    assert processes.adopt(record) is None


async def test_a_stranger_with_the_same_pid_is_not_ours(log: Path) -> None:
    child = await spawned(WAITS, log)
    try:
        for other in ({"started": child.started - 60}, {"program": "java"}, {"pid": None}):
            known = {"pid": child.pid, "started": child.started, "program": child.program} | other
            assert processes.adopt(ProcessRecord("test", **known)) is None
    finally:
        await processes.stop(child, signal.SIGTERM, 10)


def test_a_program_that_does_not_exist_is_named(log: Path) -> None:
    missing = Program("test", ("/no/such/program",), answers)
    with pytest.raises(StartError, match=r"/no/such/program cannot be started: No such file"):
        processes.spawn(missing, os.environ, log, tied=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("tied", [False, True])
async def test_a_child_runs_as_the_account_it_is_given(tied: bool, tmp_path: Path) -> None:
    child = processes.spawn(
        Program(
            "test", ("/bin/sh", "-c", "id -u; id -G; echo up; exec sleep 600"), answers, account=Account(12345, 54321)
        ),
        os.environ,
        tmp_path / "log",
        tied=tied,
    )
    try:
        await eventually(lambda: (tmp_path / "log").read_text() == "12345\n54321\nup\n")
    finally:
        await processes.stop(child, signal.SIGTERM, 10)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux")
async def test_a_tied_child_ends_with_its_parent(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    parent = f"""
import os, pathlib, sys, time
from infra.local import processes
from infra.local.program import Program
child = processes.spawn(
    Program("test", (sys.executable, "-c", {WAITS!r}), None), os.environ, pathlib.Path({str(log)!r}), tied=True
)
print(child.pid, flush=True)
time.sleep(600)
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", parent, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    await eventually(lambda: log.read_text() == "up\n")
    process.kill()
    await process.wait()
    await eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


async def test_a_long_log_is_moved_aside_while_it_is_written(log: Path) -> None:
    code = "import sys, time\nprint('x' * 5000, 'up', flush=True)\nsys.stdin\ntime.sleep(600)"
    child = await spawned(code, log)
    try:
        processes.rotate(log, limit=1000)
        assert log.stat().st_size == 0
        assert log.with_suffix(".log.1").read_text().endswith("up\n")
        with log.open("a") as later:
            later.write("new\n")
        assert log.read_text() == "new\n"
        processes.rotate(log, limit=1000)
        assert log.read_text() == "new\n"
    finally:
        await processes.stop(child, signal.SIGTERM, 10)


def test_a_log_that_does_not_exist_is_no_fault(tmp_path: Path) -> None:
    processes.rotate(tmp_path / "none.log")


def test_the_fingerprint_tells_command_and_environment() -> None:
    one = program(WAITS, environment={"A": "1"})
    assert one.fingerprint == program(WAITS, environment={"A": "1"}).fingerprint
    assert one.fingerprint != program(WAITS, environment={"A": "2"}).fingerprint
    assert one.fingerprint != program(STUBBORN, environment={"A": "1"}).fingerprint
