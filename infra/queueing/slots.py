"""Bounds how much is done at once (searches, answers), and gives the slots out in fair turns."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

from infra.kafka.waiting import waiting
from infra.queueing.lanes import Lanes
from infra.queueing.service import Service
from infra.queueing.turns import Turn, Turns
from infra.redis.load import Load, Queued
from infra.telemetry.metrics import Metric, gauge, observe


@dataclass(frozen=True, slots=True)
class Meters:
    """The metrics that show a queue."""

    waited: Metric
    depth: Metric
    estimated_wait: Metric
    labels: tuple[str, ...] = ()


class NoTurnError(Exception):
    """The time that was given for waiting is over."""


class Hold:
    """A slot that is held, and a place at one backend with it."""

    def __init__(self, lane: str, lanes: Lanes, moved: Callable[[], None]) -> None:
        self._lane: str | None = lane
        self._lanes = lanes
        self._moved = moved

    async def move(self, lane: str, limit: int | None = None) -> None:
        """Give the place at the backend back and wait for one at another; the slot is kept meanwhile."""
        if lane == self._lane:
            return
        self.leave()
        self._lanes.limit(lane, limit)
        await self._lanes.enter(lane)
        self._lane = lane

    def leave(self) -> None:
        """Give the place back, if one is held."""
        if self._lane is not None:
            lane, self._lane = self._lane, None
            self._lanes.leave(lane)
            self._moved()


class Slots:
    """`slots` turns at once; who is next is decided by `Turns`, among those whose backend has room."""

    def __init__(
        self,
        slots: int,
        meters: Meters,
        weights: Mapping[str, float] | None = None,
        clock: Callable[[], float] = monotonic,
        *,
        each: int | None = None,
    ) -> None:
        """`each` bounds the turns that one workspace has at once, so that a slot is left for the next to come."""
        self._meters = meters
        self._slots = slots
        self._free = slots
        self._turns: Turns[asyncio.Future[Turn]] = Turns(weights)
        self._each = each
        # Workspaces are no label of a metric: there may be any number of them.
        self._lanes = Lanes() if each is None else Lanes(each, None)
        self._clock = clock
        self._service = Service()

    @property
    def depth(self) -> int:
        """How many wait for a slot."""
        return len(self._turns)

    @property
    def usable(self) -> int:
        """Slots that answers can be written in now. Where questions wait beside free slots the backends that they are
        for are full: no more than are at work can be.
        """
        return max(1, self._slots - self._free) if self.depth else self._slots

    @property
    def estimated_wait_s(self) -> float:
        """Seconds that a question waits which comes now and is served after all that wait."""
        return 0.0 if self._free and not self.depth else (self.depth + 1) * self._turns.mean_s / self.usable

    def load(self) -> Load:
        """Return what the gateways are told."""
        queues = {name: Queued(*counted) for name, counted in self._turns.queues().items()}
        return Load(self.usable, self._service.mean_s, queues)

    @asynccontextmanager
    async def slot(
        self,
        workspace: str,
        accepted_at: float,
        lane: str = "",
        limit: int | None = None,
        *,
        within_s: float | None = None,
    ) -> AsyncIterator[Hold]:
        """Wait for a turn and hold a slot inside the context. `accepted_at` orders the questions of a workspace.

        At most `limit` answers are written in `lane` at once: while it is full, questions for other lanes go first.
        Raises NoTurnError if its turn has not come within `within_s` seconds; None waits for ever.
        """
        queued_at = self._clock()
        if self._each is None:
            self._lanes.limit(lane, limit)
        else:
            lane = workspace
        turn = await self._turn(workspace, accepted_at, lane, within_s)
        started = self._clock()
        observe(self._meters.waited, started - queued_at, *self._meters.labels)
        hold = Hold(lane, self._lanes, self._give)
        try:
            yield hold
        finally:
            hold.leave()
            took_s = self._clock() - started
            self._service.took(took_s)
            self._end(turn, took_s)

    async def _turn(self, workspace: str, accepted_at: float, lane: str, within_s: float | None) -> Turn:
        given: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        waiter = self._turns.join(workspace, accepted_at, given, lane)
        self._give()
        try:
            with waiting():
                if given.done():
                    return given.result()
                async with asyncio.timeout(within_s):
                    # Shielded: a future cancelled with its task could not be given the turn, which would be lost.
                    return await asyncio.shield(given)
        except (asyncio.CancelledError, TimeoutError) as error:
            if given.done():
                # Given and cancelled in one step of the loop: the slot must go on to the next.
                self._lanes.leave(lane)
                self._end(given.result(), None)
            else:
                self._turns.leave(waiter)
                self._report()
            if isinstance(error, TimeoutError):
                raise NoTurnError from error
            raise

    def _end(self, turn: Turn, took_s: float | None) -> None:
        self._turns.ended(turn, took_s)
        self._free += 1
        self._give()

    def _give(self) -> None:
        while self._free and len(self._turns):
            try:
                given, turn = self._turns.next(self._lanes.has_room)
            except IndexError:
                break
            self._free -= 1
            self._lanes.take(turn.lane)
            given.set_result(turn)
        self._report()

    def _report(self) -> None:
        gauge(self._meters.depth, self.depth, *self._meters.labels)
        gauge(self._meters.estimated_wait, self.estimated_wait_s, *self._meters.labels)
