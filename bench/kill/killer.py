"""Kills -9, by a seeded schedule bound to the progress of the stream, and measures how long each takes to come back."""

import asyncio
import os
import random
import shlex
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from infra.local.processes import find
from infra.local.record import StackRecord, State

WEIGHTS = {"gateway": 3, "stream": 4, "models": 4, "door": 3, "postgres": 3, "valkey": 1, "neo4j": 2, "kafka": 3}
"""How often each is killed, relative to the others. `stream` and `models` are the hosts of the workers."""
UP_FOR_S = (0.0, 5.0)
"""What is killed has been up so long, at random. Without it kills that fell due while their target was away would meet
it the moment it is back, again and again, and nothing would be at work that a kill could spoil."""
LAST = 0.97
"""Kills end before the last of the work, so that there is something left to get wrong."""
LOOK_EVERY_S = 0.05
BACK_WITHIN_S = 180.0


@dataclass(frozen=True, slots=True)
class Kill:
    """`target` dies when the share `at` of all work is done (accepting and sinking count half each), and it is up.

    `up_s`: for how many seconds it has been up by then, at least.
    """

    at: float
    target: str
    up_s: float = 0.0


def schedule(seed: int, kills: int, weights: Mapping[str, int]) -> list[Kill]:
    """Return the kills in order: every target once as far as `kills` reaches, then by weight."""
    chance = random.Random(f"kills {seed}")
    each = list(weights)
    chance.shuffle(each)
    more = chance.choices(list(weights), list(weights.values()), k=max(0, kills - len(each)))
    moments = sorted(chance.uniform(0.01, LAST) for _ in range(kills))
    targets = [*each, *more][:kills]
    chance.shuffle(targets)
    return [Kill(at, target, chance.uniform(*UP_FOR_S)) for at, target in zip(moments, targets, strict=True)]


class Victims(Protocol):
    """What can be killed."""

    async def kill(self, target: str, up_s: float) -> float | None:
        """Kill `target` once it has been up for `up_s` seconds, as far as that can be seen.

        Returns a moment to count its recovery from, None if it was not up in time.
        """

    async def back(self, target: str) -> bool:
        """Wait until what was killed is up again; False where that cannot be seen or takes too long."""


class StackVictims:
    """The processes of a local stack; its keepers bring them back."""

    def __init__(self, record: StackRecord) -> None:
        self._record = record
        self._killed: dict[str, int] = {}

    async def kill(self, target: str, up_s: float) -> float | None:
        """Kill the process that stands in the record."""
        if not await self._up(target, up_s):
            return None
        found = self._record.processes[target]
        if find(found.pid, found.started, found.program) is None or found.pid is None:
            return None
        os.kill(found.pid, signal.SIGKILL)
        self._killed[target] = found.pid
        return time.monotonic()

    async def back(self, target: str) -> bool:
        """Wait until the keeper has had an answer from another process."""
        return await self._up(target)

    async def _up(self, target: str, for_s: float = 0.0) -> bool:
        deadline = time.monotonic() + BACK_WITHIN_S
        while time.monotonic() < deadline:
            found = self._record.processes[target]
            old = found.pid == self._killed.get(target)
            if found.state is State.READY and not old and time.time() - found.since >= for_s:
                return True
            await asyncio.sleep(LOOK_EVERY_S)
        return False


class CommandVictims:
    """Processes of somebody's own cluster, killed by a command that holds `{target}`; what brings them back is theirs.

    For example `kubectl delete pod --grace-period=0 --force -l app=millrace-{target}`.
    """

    def __init__(self, command: str) -> None:
        self._command = command

    async def kill(self, target: str, up_s: float) -> float | None:  # noqa: ARG002 - unknown from here
        """Run the command. None if it fails."""
        words = shlex.split(self._command.replace("{target}", target))
        process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.DEVNULL)
        return time.monotonic() if await process.wait() == 0 else None

    async def back(self, target: str) -> bool:  # noqa: ARG002 - every kind of victim is asked alike
        """Unknown from here."""
        return False


@dataclass
class Killed:
    """What was killed, and after how many seconds it answered again."""

    kills: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    recoveries_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    missed: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Kills that happened."""
        return sum(self.kills.values())


class Killer:
    """Carries out a schedule."""

    def __init__(self, kills: list[Kill], victims: Victims, progress: Callable[[], float]) -> None:
        self._kills = kills
        self._victims = victims
        self._progress = progress
        self.killed = Killed()

    async def run(self) -> None:
        """Kill as scheduled; return once everything killed is back."""
        async with asyncio.TaskGroup() as group:
            for kill in self._kills:
                while self._progress() < kill.at:  # noqa: ASYNC110 - a number that grows in many small steps
                    await asyncio.sleep(LOOK_EVERY_S)
                at = await self._victims.kill(kill.target, kill.up_s)
                if at is None:
                    self.killed.missed.append(f"{kill.target} at {kill.at:.2f}: was not up")
                    continue
                self.killed.kills[kill.target] += 1
                group.create_task(self._watch(kill.target, at))

    async def _watch(self, target: str, at: float) -> None:
        if await self._victims.back(target):
            self.killed.recoveries_s[target].append(time.monotonic() - at)
