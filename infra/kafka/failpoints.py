"""Named points of the delivery runtime at which a test makes the process die, fail, wait or stand still.

    MILLRACE_FAILPOINTS="after_effects=kill:3,before_commit@ledger=delay:0.5"

Each entry is `POINT[@WORKER]=ACTION[:NUMBER]`. `POINT` is a member of `Point`; `@WORKER` restricts it to one of the
workers that a process hosts. Actions:

- `kill:N`   SIGKILL to itself at the N-th time the point is reached (default 1): no handler, no flush, no goodbye;
- `raise:N`  `Transient` the first N times (default 1), as a dependency that is down for that long;
- `delay:S`  S seconds each time (default 1);
- `pause:N`  from the N-th time on, for ever: ended only by a kill from outside, or by the runtime's own deadlines.

Off by default: the runtime asks `ARMED`, an empty dictionary, and goes on. A production start refuses the variable.
"""

import asyncio
import os
import signal
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, get_args

from pydantic import Field

from infra.errors import Transient
from infra.settings import ProcessSettings, Settings, SettingsError
from infra.telemetry.logs import logger

VARIABLE = "MILLRACE_FAILPOINTS"
Action = Literal["kill", "raise", "delay", "pause"]
log = logger(__name__)


class Point(StrEnum):
    """Where. The order is that of a record's life."""

    AFTER_DECODE = "after_decode"
    BEFORE_EFFECTS = "before_effects"
    AFTER_EFFECTS = "after_effects"
    AFTER_PUBLISH = "after_publish"
    BEFORE_DEAD_LETTER = "before_dead_letter"
    AFTER_DEAD_LETTER = "after_dead_letter"
    BEFORE_COMMIT = "before_commit"
    AFTER_COMMIT = "after_commit"

    @property
    def meaning(self) -> str:
        """What is durable when it is reached, and what is not."""
        return _MEANINGS[self]


_MEANINGS = {
    Point.AFTER_DECODE: "records are decoded; nothing has happened yet",
    Point.BEFORE_EFFECTS: "the handler is about to be called; reached again at each try",
    Point.AFTER_EFFECTS: "the handler has had its effects; nothing of what it returned is published",
    Point.AFTER_PUBLISH: "effects and publications are durable; the offset is not committed",
    Point.BEFORE_DEAD_LETTER: "a record is given up; its dead letter is not published",
    Point.AFTER_DEAD_LETTER: "the dead letter is durable; the offset is not committed",
    Point.BEFORE_COMMIT: "finished offsets are about to be committed",
    Point.AFTER_COMMIT: "the broker has the committed offsets",
}


class FailpointSettings(Settings):
    """`MILLRACE_FAILPOINTS`: for tests only; empty arms nothing."""

    failpoints: str = Field(default="", alias=VARIABLE)


@dataclass(slots=True)
class Armed:
    """A point that is switched on."""

    action: Action
    number: float
    worker: str = ""
    """Only in this worker; empty means in all."""
    reached: int = 0


ARMED: dict[Point, list[Armed]] = {}
"""What is switched on in this process. The hot path asks only whether it is empty."""


def arm(settings: FailpointSettings, process: ProcessSettings) -> None:
    """Switch on what `settings` name. Raises SettingsError for what cannot be read, and in production for anything."""
    wanted = parse(settings.failpoints)
    if wanted and process.mode == "production":
        raise SettingsError(f"bad settings: {VARIABLE}: MILLRACE_MODE=production refuses failpoints")
    ARMED.clear()
    ARMED.update(wanted)
    for point, armed in wanted.items():
        for one in armed:
            log.warning("failpoint armed", point=point.value, action=one.action, number=one.number, of=one.worker)


def parse(text: str) -> dict[Point, list[Armed]]:
    """Read `POINT[@WORKER]=ACTION[:NUMBER]`, comma-separated. Raises SettingsError naming the entry."""
    found: dict[Point, list[Armed]] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        place, _, what = entry.partition("=")
        name, _, worker = place.partition("@")
        action, _, number = what.partition(":")
        try:
            point = Point(name)
            times = float(number or 1)
        except ValueError as error:
            raise SettingsError(f"bad settings: {VARIABLE}: cannot read {entry!r}: {error}") from error
        if times <= 0 or (action != "delay" and not times.is_integer()):
            raise SettingsError(f"bad settings: {VARIABLE}: {entry!r}: the number must be positive, and whole")
        found.setdefault(point, []).append(Armed(_action(action, entry), times, worker))
    return found


def _action(text: str, entry: str) -> Action:
    for known in get_args(Action):
        if text == known:
            action: Action = known
            return action
    raise SettingsError(f"bad settings: {VARIABLE}: {entry!r}: the action is one of {', '.join(get_args(Action))}")


async def reach(point: Point, worker: str) -> None:
    """Do what is armed at `point`; call it only if `ARMED` holds anything. Raises Transient where told to."""
    for armed in ARMED.get(point, ()):
        if armed.worker in ("", worker):
            armed.reached += 1
            await _act(armed, point, worker)


async def _act(armed: Armed, point: Point, worker: str) -> None:
    match armed.action:
        case "kill" if armed.reached == armed.number:
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise" if armed.reached <= armed.number:
            raise Transient("failpoint", point.value)
        case "delay":
            await asyncio.sleep(armed.number)
        case "pause" if armed.reached >= armed.number:
            log.warning("failpoint reached: standing still", point=point.value, worker=worker)
            await asyncio.Event().wait()
        case _:
            return
