"""What `up`, `down` and `status` do with a supervisor: by its record and by signals, from any other process."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from infra.local import processes
from infra.local.processes import adopt
from infra.local.record import StackRecord, State
from infra.local.state import Home, outside
from infra.local.supervisor import LLM_OPTION, held, supervisor_of
from infra.local.table import LLM, NAMES, SERVERS

LOOK_EVERY_S = 0.1
TRIES = 3
"""Ends of one process before its first answer after which `up` stops waiting for it; the supervisor goes on trying."""
STOP_WITHIN_S = 120

Watch = Callable[[StackRecord], None]
"""Shown the record while something is being waited for."""


def quietly(record: StackRecord) -> None:
    """Show nothing."""


class UpError(Exception):
    """The stack is not ready; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Usage:
    """One line of `status`."""

    name: str
    state: str
    detail: str
    pid: int | None
    port: int | None
    uptime_s: float | None
    restarts: int
    pss_bytes: int | None


def start(home: Home, names: tuple[str, ...], llm: str = "") -> "subprocess.Popen[bytes] | None":
    """Start a supervisor for `names` in a session of its own; None if one already keeps them all.

    A supervisor that keeps fewer, or another language model than `llm` (empty for none), is asked to leave, and the
    new one adopts what runs.
    """
    record = StackRecord.read(home.record)
    running = supervisor_of(record)
    if running is not None and record is not None:
        if set(names) <= set(record.wanted) and record.outside == outside(os.environ) and record.llm == llm:
            return None
        # What runs stays wanted: the new one adopts it.
        known = (*NAMES, LLM) if llm else NAMES
        names = tuple(name for name in known if name in {*names, *record.wanted})
        with contextlib.suppress(psutil.NoSuchProcess):
            running.send_signal(signal.SIGUSR1)
    home.create()
    log = home.log("supervisor")
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "infra.local.supervisor", str(home.root), *names, f"{LLM_OPTION}{llm}"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def remembered_llm(home: Home) -> str:
    """Return the language model that the last `up` ran, empty for none. Raises ValueError for an unreadable record."""
    record = StackRecord.read(home.record)
    return record.llm if record is not None else ""


async def wait_ready(
    home: Home, started: "subprocess.Popen[bytes] | None", timeout_s: float, watch: Watch = quietly
) -> StackRecord:
    """Wait until the stack is ready, showing `watch` the record; return it.

    Raises UpError when the start has failed, a process keeps ending, or the time is over.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        ended = started.poll() if started is not None else None
        record = StackRecord.read(home.record)
        mine = record is not None and (started is None or record.supervisor_pid == started.pid or ended is not None)
        if record is not None and mine:
            watch(record)
            if record.state is State.READY and ended is None:
                return record
            # A start that failed is stopping what it had started: wait for that, and nothing is left.
            if record.state is not State.FAILED or started is None:
                _check(home, record)
        if ended is not None:
            raise UpError(_why_ended(home, record, ended))
        if time.monotonic() > deadline:
            raise UpError(f"not ready after {timeout_s:.0f} s: {_waited_for(record)}; it goes on in the background")
        await asyncio.sleep(LOOK_EVERY_S)


def _why_ended(home: Home, record: StackRecord | None, status: int) -> str:
    if record is not None and record.state is State.FAILED:
        return record.detail
    said = home.log("supervisor").read_text().strip().splitlines()
    return f"the supervisor ended with status {status}: {said[-1] if said else 'see its log'}"


def _waited_for(record: StackRecord | None) -> str:
    if record is None:
        return "the supervisor has not begun"
    open_ones = [one for one in record.processes.values() if one.state not in {State.READY, State.DONE, State.OUTSIDE}]
    return "; ".join(f"{one.name} {one.state} {one.detail}".strip() for one in open_ones) or record.state


def _check(home: Home, record: StackRecord) -> None:
    """Raise UpError if waiting longer makes no sense."""
    if record.state is State.FAILED:
        raise UpError(record.detail)
    for one in record.processes.values():
        if one.restarts >= TRIES and one.state is not State.READY and record.ready_after_s is None:
            said = tail(home, one.name, 5)
            raise UpError(f"{one.name} ended {one.restarts} times before its first answer; its last words:\n{said}")


def tail(home: Home, name: str, lines: int) -> str:
    """Return the last `lines` lines of a log, empty if there is none."""
    try:
        with home.log(name).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 400 * lines))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


async def down(home: Home, watch: Watch = quietly) -> bool:
    """Stop the stack in order and return whether anything ran. What a killed supervisor left behind is stopped too.

    Raises OccupiedError if a supervisor starts meanwhile.
    """
    record = StackRecord.read(home.record)
    running = supervisor_of(record)
    ran = running is not None
    if running is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            running.send_signal(signal.SIGTERM)
        await _until_gone(home, running, watch)
    if record is None:
        return ran
    with held(home):
        return await _stop_left_behind(home) or ran


async def _until_gone(home: Home, running: psutil.Process, watch: Watch) -> None:
    deadline = time.monotonic() + STOP_WITHIN_S
    while running.is_running() and running.status() != psutil.STATUS_ZOMBIE:
        if (record := StackRecord.read(home.record)) is not None:
            watch(record)
        if time.monotonic() > deadline:
            running.kill()
            return
        await asyncio.sleep(LOOK_EVERY_S)


async def _stop_left_behind(home: Home) -> bool:
    """Stop what no supervisor keeps, in the usual order."""
    record = StackRecord.read(home.record)
    if record is None:
        return False
    found = False
    servers = (*(name for name in SERVERS if name != "kafka"), LLM)
    for names in (("gateway",), ("stream", "models"), servers, ("kafka",)):
        left = [child for name in names if name in record.processes and (child := adopt(record.processes[name]))]
        found = found or bool(left)
        numbers = {"postgres": signal.SIGINT}
        await asyncio.gather(*(processes.stop(child, numbers.get(child.name, signal.SIGTERM), 30) for child in left))
    for one in record.processes.values():
        one.pid, one.state = None, State.STOPPED
    record.state, record.supervisor_pid = State.STOPPED, None
    record.write(home.record)
    return found


def memory(pid: int, *, descendants: bool = True) -> int | None:
    """Return the proportional set size in bytes of a process and its descendants: shared pages counted once in all.

    None if it is gone or hidden from this user.
    """
    total = 0
    try:
        process = psutil.Process(pid)
        for one in (process, *(process.children(recursive=True) if descendants else [])):
            with contextlib.suppress(psutil.NoSuchProcess):
                found = one.memory_full_info()
                total += getattr(found, "pss", found.rss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    return total


def usage(record: StackRecord) -> list[Usage]:
    """Return what each unit of `record` is and uses now, the supervisor first."""
    supervisor = supervisor_of(record)
    own = supervisor.pid if supervisor else None
    lines = [
        Usage(
            name="supervisor",
            state=State.READY if own else State.STOPPED,
            detail="" if own else "not running: nothing restarts what ends; `millrace up` takes over",
            pid=own,
            port=None,
            uptime_s=time.time() - record.supervisor_started if own else None,
            restarts=0,
            # Its descendants have lines of their own.
            pss_bytes=memory(own, descendants=False) if own else None,
        )
    ]
    for one in record.processes.values():
        alive = adopt(one)
        gone = one.pid is not None and alive is None and one.state is not State.RESTARTING
        lines.append(
            Usage(
                name=one.name,
                state=State.FAILED if gone else one.state,
                detail="its process is gone" if gone else one.detail or ("adopted" if one.adopted and alive else ""),
                pid=alive.pid if alive else None,
                port=one.port if alive else None,
                uptime_s=time.time() - one.started if alive else None,
                restarts=one.restarts,
                pss_bytes=memory(alive.pid) if alive else None,
            )
        )
    return lines


def wipe(home: Home) -> None:
    """Delete what this stack made, in the state folder and outside of it. Raises OccupiedError while it runs.

    By name: MILLRACE_HOME may point at a folder that holds other things too.
    """
    with held(home, within_s=1):
        record = StackRecord.read(home.record)
        for place in (record.places if record else {}).values():
            shutil.rmtree(Path(place).parent, ignore_errors=True)
        for folder in (*(home.root / name for name in ("data", "logs")), home.objects, home.run):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (home.record, home.secrets, home.api_key, home.lock):
            file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        home.root.rmdir()
