"""Bounds how many answers are written at once, and gives the slots out in fair turns."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from time import monotonic

from infra.kafka.waiting import waiting
from infra.telemetry.metrics import Metric, gauge, observe
from workers.inference.turns import Turn, Turns


class Slots:
    """`slots` turns at once; who is next is decided by `Turns`."""

    def __init__(
        self, slots: int, weights: Mapping[str, float] | None = None, clock: Callable[[], float] = monotonic
    ) -> None:
        self._slots = slots
        self._free = slots
        self._turns: Turns[asyncio.Future[Turn]] = Turns(weights)
        self._clock = clock

    @property
    def depth(self) -> int:
        """How many wait for a slot."""
        return len(self._turns)

    @property
    def estimated_wait_s(self) -> float:
        """Seconds that a question waits which comes now and is served after all that wait."""
        return 0.0 if self._free else (self.depth + 1) * self._turns.mean_s / self._slots

    @asynccontextmanager
    async def slot(self, workspace: str, accepted_at: float) -> AsyncIterator[None]:
        """Wait for a turn and hold a slot inside the context. `accepted_at` orders the questions of a workspace."""
        queued_at = self._clock()
        turn = await self._turn(workspace, accepted_at)
        started = self._clock()
        observe(Metric.INFERENCE_WAITED_SECONDS, started - queued_at)
        try:
            yield
        finally:
            self._end(turn, self._clock() - started)

    async def _turn(self, workspace: str, accepted_at: float) -> Turn:
        given: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        waiter = self._turns.join(workspace, accepted_at, given)
        self._give()
        try:
            with waiting():
                # Shielded: a future cancelled with its task could not be given the turn, which would be lost.
                return await asyncio.shield(given)
        except asyncio.CancelledError:
            if given.done():
                # Given and cancelled in one step of the loop: the slot must go on to the next.
                self._end(given.result(), None)
            else:
                self._turns.leave(waiter)
                self._report()
            raise

    def _end(self, turn: Turn, took_s: float | None) -> None:
        self._turns.ended(turn, took_s)
        self._free += 1
        self._give()

    def _give(self) -> None:
        while self._free and len(self._turns):
            given, turn = self._turns.next()
            self._free -= 1
            given.set_result(turn)
        self._report()

    def _report(self) -> None:
        gauge(Metric.INFERENCE_QUEUE_DEPTH, self.depth)
        gauge(Metric.INFERENCE_ESTIMATED_WAIT_SECONDS, self.estimated_wait_s)
