"""Counts the answers that each backend writes at once, and bounds them."""

import asyncio
from collections import deque

from infra.telemetry.metrics import Metric, gauge


class Lanes:
    """Places at backends, by name. A lane without a limit has `places`, or always room."""

    def __init__(self, places: int | None = None, meter: Metric | None = Metric.BACKEND_AT_WORK) -> None:
        self._places = places
        self._meter = meter
        self._limits: dict[str, int] = {}
        self._taken: dict[str, int] = {}
        self._moving: dict[str, deque[asyncio.Future[None]]] = {}

    def limit(self, lane: str, places: int | None) -> None:
        """Set how many places a lane has, None for as many as are wanted; what was taken stays taken."""
        if places is None:
            self._limits.pop(lane, None)
        else:
            self._limits[lane] = places

    def taken(self, lane: str) -> int:
        """How many places are taken."""
        return self._taken.get(lane, 0)

    def has_room(self, lane: str) -> bool:
        """Whether a newcomer may take a place. Those who move over from another lane go first: they hold a slot."""
        return not self._moving.get(lane) and self._free(lane)

    def take(self, lane: str) -> None:
        """Take a place."""
        self._taken[lane] = self.taken(lane) + 1
        self._report(lane)

    def leave(self, lane: str) -> None:
        """Give a place back."""
        self._taken[lane] -= 1
        if not self._taken[lane]:
            del self._taken[lane]
        self._report(lane)
        self._let_in(lane)

    async def enter(self, lane: str) -> None:
        """Wait for a place, in order of arrival, and take it."""
        if self.has_room(lane):
            self.take(lane)
            return
        entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._moving.setdefault(lane, deque())
        queue.append(entered)
        try:
            await entered
        except asyncio.CancelledError:
            if entered.done() and not entered.cancelled():
                # Let in and cancelled in one step of the loop.
                self.leave(lane)
            else:
                queue.remove(entered)
            raise

    def _report(self, lane: str) -> None:
        if lane and self._meter is not None:
            gauge(self._meter, self.taken(lane), lane)

    def _free(self, lane: str) -> bool:
        places = self._limits.get(lane, self._places)
        return places is None or self.taken(lane) < places

    def _let_in(self, lane: str) -> None:
        queue = self._moving.get(lane)
        while queue and self._free(lane):
            entered = queue.popleft()
            if not entered.done():
                self.take(lane)
                entered.set_result(None)
        if queue is not None and not queue:
            del self._moving[lane]
