"""How much a workspace may put on the log: one that floods must not fill the disk or keep the others waiting.

The bound holds over all gateways, counted in Redis. While Redis is away each gateway counts for itself: the bound is
then that of one gateway times their number, and nobody is refused for want of a cache.
"""

import math
from time import monotonic

from gateway.problems import Code, Problem
from infra.errors import Transient
from infra.redis.rates import OwnRates, Rate, Rates
from infra.telemetry.logs import logger

log = logger(__name__)

AWAY_S = 5.0
"""For how long Redis is not asked after it failed: each question would cost a request half a second."""


class Admission:
    """Lets events in, or says when to come back."""

    def __init__(self, rate: Rate, shared: Rates | None = None) -> None:
        self._rate = rate
        self._shared = shared
        self._own = OwnRates(rate)
        self._away_until = 0.0

    @property
    def most(self) -> int:
        """Events of a workspace that can be let in at once."""
        return self._rate.limit.amount

    async def admit(self, workspace: str, count: int = 1) -> None:
        """Count `count` events of `workspace`, all or none. Raises Problem(TOO_MANY_EVENTS)."""
        wait_s = await self._take(workspace, count) if count else 0
        if wait_s:
            raise Problem(
                Code.TOO_MANY_EVENTS,
                f"{self._rate.per_s} events per second are taken, {self._rate.burst} at once",
                {"Retry-After": str(math.ceil(wait_s))},
            )

    async def _take(self, workspace: str, count: int) -> float:
        if self._shared is not None and monotonic() >= self._away_until:
            try:
                return await self._shared.take(workspace, count)
            except Transient as error:
                self._away_until = monotonic() + AWAY_S
                log.warning("events are counted per gateway", dependency=error.dependency, cause=error.detail)
        return await self._own.take(workspace, count)
