"""The detached process that keeps a stack running, started by `up`.

    python -m infra.local.supervisor HOME UNIT… [--llm=MODEL]

SIGTERM stops everything in order; SIGUSR1 makes it leave and keep everything running, for a successor that knows of
more units; SIGKILL does the same less politely. One supervisor per state folder: it holds `lock` while it lives.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil

from infra.local.artifacts import ArtifactError
from infra.local.ports import NoFreePortError
from infra.local.processes import find
from infra.local.program import StartError
from infra.local.record import StackRecord, State
from infra.local.stack import Stack
from infra.local.state import Home

LLM_OPTION = "--llm="
"""Before the language model to run; nothing after it means none. Without it the remembered one runs."""
LOCK_WITHIN_S = 60
"""A predecessor may be stopping everything in order."""


class OccupiedError(Exception):
    """Another supervisor holds the state folder."""


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def held(home: Home, within_s: float = LOCK_WITHIN_S) -> Iterator[None]:
    """Hold the lock of `home`. Raises OccupiedError if another one keeps it for longer than `within_s` seconds."""
    home.root.mkdir(parents=True, exist_ok=True)
    # Not inherited by children (PEP 446): what outlives the supervisor must not keep the lock.
    with home.lock.open("ab") as file:
        deadline = time.monotonic() + within_s
        while not _try_lock(file):
            if time.monotonic() > deadline:
                raise OccupiedError(f"another supervisor keeps {home.root}; `millrace down` stops it")
            time.sleep(0.05)
        yield


def supervisor_of(record: StackRecord | None) -> psutil.Process | None:
    """Return the living supervisor that `record` names."""
    if record is None:
        return None
    return find(record.supervisor_pid, record.supervisor_started, Path(sys.executable).resolve().name)


class Supervisor:
    """One run of a stack, from start to signal."""

    def __init__(self, home: Home, names: tuple[str, ...], llm: str | None = None) -> None:
        self._stack = Stack(home, tied=False, llm=llm)
        self._names = names
        self._leave = asyncio.Event()
        self._hand_over = False

    def _sign(self, number: int) -> None:
        self._hand_over = number == signal.SIGUSR1
        self._leave.set()

    async def run(self) -> int:
        """Bring the stack up and keep it until a signal; return the exit status: 1 if it could not be brought up."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            asyncio.get_running_loop().add_signal_handler(number, self._sign, number)
        self._begin()
        rotating = asyncio.create_task(self._stack.rotate_logs())
        leaving = asyncio.create_task(self._leave.wait())
        starting = asyncio.create_task(self._start())
        try:
            await asyncio.wait({leaving, starting}, return_when=asyncio.FIRST_COMPLETED)
            failed = starting.done() and not starting.result()
            if not failed:
                await leaving
        finally:
            for task in (rotating, leaving, starting):
                task.cancel()
            await asyncio.gather(rotating, leaving, starting, return_exceptions=True)
            await self._end()
        return 1 if failed else 0

    def _begin(self) -> None:
        record = self._stack.record
        record.state, record.detail, record.began, record.ready_after_s = State.STARTING, "", time.time(), None
        record.supervisor_pid = os.getpid()
        record.supervisor_started = psutil.Process().create_time()
        record.wanted = list(self._names)
        self._stack.save()

    async def _start(self) -> bool:
        record = self._stack.record
        try:
            await self._stack.bring_up(self._names)
        except (StartError, ArtifactError, NoFreePortError, OSError) as fault:
            record.state, record.detail = State.FAILED, str(fault)
            self._stack.save()
            return False
        record.state, record.ready_after_s = State.READY, round(time.time() - record.began, 2)
        self._stack.save()
        return True

    async def _end(self) -> None:
        record = self._stack.record
        if self._hand_over:
            await self._stack.release()
        else:
            state = State.FAILED if record.state is State.FAILED else State.STOPPED
            record.state = State.STOPPING
            self._stack.save()
            await self._stack.shut_down()
            record.state = state
        record.supervisor_pid = None
        self._stack.save()


def main(arguments: list[str]) -> int:
    """Run as the supervisor of HOME until a signal; return the exit status."""
    home = Home(Path(arguments[0]).absolute())
    names = tuple(name for name in arguments[1:] if not name.startswith(LLM_OPTION))
    llm = next((word.removeprefix(LLM_OPTION) for word in arguments[1:] if word.startswith(LLM_OPTION)), None)

    async def run() -> int:
        return await Supervisor(home, names, llm).run()

    try:
        with held(home):
            return asyncio.run(run())
    except (OccupiedError, ValueError) as fault:
        sys.stderr.write(f"{fault}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
