"""Keeps one program running: adopts or starts it, waits until it answers, and starts it again when it ends."""

import asyncio
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from infra.local import processes
from infra.local.artifacts import ArtifactError
from infra.local.processes import Child
from infra.local.program import NotReady, Program, StartError
from infra.local.record import ProcessRecord, State
from infra.local.table import Unit

ASK_EVERY_S = 0.1
ADOPTED_WITHIN_S = 15
"""A process found running that has not answered by then is replaced."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 8.0
STEADY_AFTER_S = 3.0
"""It answered and went on for so long: its next end counts as the first again. What fails at its start, or soon after,
is started ever less often; what somebody kills is back at once, however often they do it."""


def pause(ends: int) -> float:
    """Return the seconds to wait after `ends` ends in a row: doubling, capped, within 20 % at random."""
    return min(FIRST_PAUSE_S * 2.0 ** min(ends - 1, 10), LONGEST_PAUSE_S) * random.uniform(0.8, 1.2)  # noqa: S311


class Keeper:
    """One unit of a stack at work. `ready` tells, once, that it answered, or holds why it never will."""

    def __init__(
        self, unit: Unit, record: ProcessRecord, log: Path, changed: Callable[[], None], *, tied: bool
    ) -> None:
        self.unit = unit
        self.record = record
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Retrieved by whoever waits; if nobody does, the failure stands in the record.
        self.ready.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._log = log
        self._changed = changed
        self._tied = tied
        self._child: Child | None = None
        self._program: Program | None = None
        self._ends = 0

    def _enter(self, state: State, detail: str = "") -> None:
        if state != self.record.state:
            self.record.since = time.time()
        self.record.state, self.record.detail = state, detail
        self._changed()

    def _tell(self, detail: str) -> None:
        self._enter(State.PREPARING, detail)

    async def run(self) -> None:
        """Keep it running until cancelled. A step ends when it is done."""
        try:
            await self._first()
        except (StartError, ArtifactError, OSError, ValueError) as fault:
            self._enter(State.FAILED, str(fault))
            if not self.ready.done():
                self.ready.set_exception(StartError(f"{self.unit.name}: {fault}"))
            return
        while self._program is not None:
            await self._attend(self._program)
            await self._again()

    async def _first(self) -> None:
        self._enter(State.PREPARING)
        await self.unit.prepare(self._tell)
        if self.unit.program is None:
            self._enter(State.DONE)
            self.ready.set_result(None)
            return
        self._program = self.unit.program()
        self.record.port = self._program.port
        if not await self._adopt(self._program):
            self._start(self._program)

    async def _adopt(self, program: Program) -> bool:
        """Take over the process of an earlier supervisor if it is the same one and answers; else end it."""
        found = processes.adopt(self.record)
        if found is None:
            return False
        if self.record.fingerprint == program.fingerprint:
            self._enter(State.STARTING, "found running")
            try:
                async with asyncio.timeout(ADOPTED_WITHIN_S):
                    await self._answers(program)
            except TimeoutError:
                self._enter(State.STARTING, "found running, does not answer: replacing it")
            else:
                self._child, self.record.adopted = found, True
                return True
        await processes.stop(found, program.stop_signal, program.stop_within_s)
        return False

    def _start(self, program: Program) -> None:
        # No await between start and record: a supervisor that dies in between would leave a process nobody knows.
        self._child = processes.spawn(program, os.environ, self._log, tied=self._tied)
        self.record.pid, self.record.started = self._child.pid, self._child.started
        self.record.program, self.record.fingerprint = self._child.program, program.fingerprint
        self.record.adopted = False
        self._enter(State.STARTING, "waiting for its first answer")

    async def _answers(self, program: Program) -> None:
        """Ask until answered, noting what it says."""
        while True:
            try:
                await program.ready()
            except (NotReady, OSError, TimeoutError) as fault:
                if isinstance(fault, NotReady) and str(fault) != self.record.detail:
                    self._enter(State.STARTING, str(fault))
                await asyncio.sleep(ASK_EVERY_S)
            else:
                return

    async def _attend(self, program: Program) -> None:
        """Stay with the running process until it has ended, by itself or because it did not answer in time."""
        assert self._child is not None  # noqa: S101 - started or adopted before
        answered_at: float | None = None
        exited = asyncio.create_task(self._child.exited())
        answered = asyncio.create_task(self._answers(program))
        try:
            await asyncio.wait({exited, answered}, timeout=program.start_within_s, return_when=asyncio.FIRST_COMPLETED)
            if answered.done() and not exited.done():
                answered_at = time.monotonic()
                self._enter(State.READY)
                if not self.ready.done():
                    self.ready.set_result(None)
                why = await self._until_gone_or_silent(program, exited)
            elif exited.done():
                why = f"ended with status {exited.result()} before it answered"
            else:
                why = f"did not answer within {program.start_within_s:.0f} s"
        finally:
            exited.cancel()
            answered.cancel()
        steady = answered_at is not None and time.monotonic() - answered_at > STEADY_AFTER_S
        self._ends = 1 if steady else self._ends + 1
        self._enter(State.RESTARTING, why)
        await processes.stop(self._child, program.stop_signal, program.stop_within_s)

    async def _until_gone_or_silent(self, program: Program, exited: "asyncio.Task[int | None]") -> str:
        """Wait until the process has ended, or has not answered for too long where it is asked; return which."""
        while True:
            await asyncio.wait({exited}, timeout=program.ask_every_s)
            if exited.done():
                return "ended" if exited.result() is None else f"ended with status {exited.result()}"
            answered = asyncio.create_task(self._answers(program))
            await asyncio.wait({exited, answered}, timeout=program.silent_s, return_when=asyncio.FIRST_COMPLETED)
            silent = not answered.done() and not exited.done()
            answered.cancel()
            if silent:
                return f"did not answer for {program.silent_s:.0f} s"
            if self.record.state is not State.READY:
                self._enter(State.READY)

    async def _again(self) -> None:
        """Start it again after a pause, however often that takes."""
        while True:
            wait = pause(self._ends)
            self._enter(State.RESTARTING, f"{self.record.detail.partition(';')[0]}; again in {wait:.1f} s")
            await asyncio.sleep(wait)
            self.record.restarts += 1
            try:
                await self.unit.prepare(self._tell)
                assert self._program is not None  # noqa: S101 - only a program is started again
                self._start(self._program)
            except (StartError, ArtifactError, OSError) as fault:
                self._ends += 1
                self._enter(State.RESTARTING, str(fault))
            else:
                return

    async def stop(self) -> None:
        """End the process; call it once `run` has been cancelled."""
        if self.unit.program is None:
            if self.record.state not in {State.DONE, State.FAILED}:
                self._enter(State.STOPPED)
            return
        child = self._child or processes.adopt(self.record)
        if child is not None:
            self._enter(State.STOPPING)
            program = self._program
            number, within = (program.stop_signal, program.stop_within_s) if program else (15, 15.0)
            await processes.stop(child, number, within)
        self.record.pid = None
        if self.record.state is not State.FAILED:
            self._enter(State.STOPPED)
