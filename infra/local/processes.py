"""Child processes: start, recognise again, wait for and stop them, whoever their parent is by now."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from infra.local.program import Account, Program, StartError
from infra.local.record import ProcessRecord

SAME_START_S = 1.0
"""The system's clock is corrected now and then, and the start time that it tells moves along."""
POLL_S = 0.2
KILLED_WITHIN_S = 10
LOG_LIMIT = 16 * 1024 * 1024
TIE = """
import ctypes, os, signal, sys
parent, user, group, *command = sys.argv[1:]
if user != "-":
    os.setgroups([]); os.setgid(int(group)); os.setuid(int(user))
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(parent):
    sys.exit("its parent is gone already")
os.execv(command[0], command)
"""
"""Ends a child when its parent ends, however that ends (PR_SET_PDEATHSIG). Set in the child itself, since code between
fork and exec of a process with threads may hang."""


@dataclass(slots=True)
class Child:
    """A running process of the stack, started here or adopted."""

    name: str
    pid: int
    started: float
    program: str
    popen: "subprocess.Popen[bytes] | None" = None

    def lives(self) -> bool:
        """Tell whether it still runs; a zombie does not."""
        if self.popen is not None:
            return self.popen.poll() is None
        return find(self.pid, self.started, self.program) is not None

    async def exited(self) -> int | None:
        """Wait until it has ended; return its exit status where that can be known."""
        await _gone(self)
        return self.popen.wait() if self.popen is not None else None


def find(pid: int | None, started: float, program: str) -> psutil.Process | None:
    """Return the process with this pid, start time and executable, None if it is gone.

    All three, since the pid alone may be a stranger's by now.
    """
    if not pid:
        return None
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - started) > SAME_START_S:
            return None
        return process if _executable(process) == program else None
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def _executable(process: psutil.Process) -> str:
    return Path(process.exe()).name


def adopt(record: ProcessRecord) -> Child | None:
    """Return the process that `record` names if it still runs."""
    if find(record.pid, record.started, record.program) is None:
        return None
    assert record.pid is not None  # noqa: S101 - find() returned it
    return Child(record.name, record.pid, record.started, record.program)


async def _gone(child: Child) -> None:
    try:
        descriptor = os.pidfd_open(child.pid)
    except AttributeError:
        descriptor = None
    except OSError:
        # Gone already, or a kernel or sandbox without it: asking again and again works everywhere.
        descriptor = None
    if descriptor is None:
        while child.lives():  # noqa: ASYNC110 - there is nothing to wait for on this system
            await asyncio.sleep(POLL_S)
        return
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, over.set)
    try:
        # The pid may have become a stranger's between reading the record and opening it.
        if child.lives():
            await over.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _tied(command: tuple[str, ...], account: Account | None) -> list[str]:
    user, group = (str(account.user), str(account.group)) if account else ("-", "-")
    return [sys.executable, "-I", "-S", "-c", TIE, str(os.getpid()), user, group, *command]


def spawn(program: Program, environment: Mapping[str, str], log: Path, *, tied: bool) -> Child:
    """Start `program` in a session and process group of its own, its output appended to `log`.

    `tied` ends it with this process; else it outlives it. Raises StartError if it cannot be executed.
    """
    wrapped = tied and sys.platform == "linux"
    account = None if wrapped else program.account
    command = _tied(program.command, program.account) if wrapped else list(program.command)
    # Appending, so that cutting the file short (see rotate) makes the next line its first.
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
        try:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment) | dict(program.environment),
                cwd=program.folder,
                start_new_session=True,
                user=account.user if account else None,
                group=account.group if account else None,
                extra_groups=[] if account else None,
            )
        except OSError as fault:
            raise StartError(f"{program.command[0]} cannot be started: {fault.strerror}") from fault
    executable = Path(program.command[0]).resolve().name
    try:
        started = psutil.Process(popen.pid).create_time()
    except psutil.NoSuchProcess:
        started = 0.0
    return Child(program.name, popen.pid, started, executable, popen)


def _family(child: Child) -> list[psutil.Process]:
    try:
        return psutil.Process(child.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


async def stop(child: Child, number: int, within_s: float) -> bool:
    """Ask `child` to end, kill it after `within_s` seconds, and end whatever it leaves behind.

    Returns whether it ended by itself. A process it started in another session (Postgres does) is found by kinship.
    """
    family = await asyncio.to_thread(_family, child)
    clean = True
    if child.lives():
        _signal(child.pid, number)
        try:
            async with asyncio.timeout(within_s):
                await child.exited()
        except TimeoutError:
            clean = False
            _signal_group(child.pid, signal.SIGKILL)
            async with asyncio.timeout(KILLED_WITHIN_S):
                await child.exited()
    _signal_group(child.pid, signal.SIGKILL)
    await asyncio.to_thread(_end, family)
    return clean


def _end(family: list[psutil.Process]) -> None:
    for process in family:
        # psutil compares start times before it signals: never a stranger with the same pid.
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=KILLED_WITHIN_S)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def rotate(log: Path, limit: int = LOG_LIMIT) -> None:
    """Move the content of a log that has grown past `limit` bytes to `<name>.1` and cut it short.

    Copied, not renamed: the process keeps the file open, and holding a pipe instead would end it with the supervisor.
    What it writes between the copy and the cut is lost.
    """
    try:
        if log.stat().st_size <= limit:
            return
    except FileNotFoundError:
        return
    aside = log.with_suffix(".log.1")
    with (
        log.open("rb") as source,
        os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as kept,
    ):
        while part := source.read(1 << 20):
            kept.write(part)
    os.truncate(log, 0)
