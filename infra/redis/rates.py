"""How much a name may do in a time, counted where every process sees it: in Redis or Valkey.

The count itself is the library's (`limits`), an approximated sliding window: two counters per name, one round trip, a
script that runs as a whole, so that two processes cannot both take the last place.
"""

import math
import time
from dataclasses import dataclass
from typing import Protocol

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import Redis

from infra.redis.client import translating

PREFIX = "millrace:rate:1"
"""Ends in the layout's version."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `burst` within `burst / per_s` seconds: `per_s` in the long run, `burst` at once after a rest.

    The window is whole seconds, at least one; `burst` grows to fill it. Raises ValueError where `burst` is less than
    `per_s`: such a rate could never be reached.
    """

    per_s: int
    burst: int

    def __post_init__(self) -> None:
        if not 0 < self.per_s <= self.burst:
            raise ValueError(f"a burst of {self.burst} is less than the {self.per_s} of a second")

    @property
    def window_s(self) -> int:
        """Length of the window."""
        return math.ceil(self.burst / self.per_s)

    @property
    def limit(self) -> RateLimitItemPerSecond:
        """The rate in the library's words."""
        return RateLimitItemPerSecond(self.per_s * self.window_s, self.window_s)


class Rates(Protocol):
    """Counts what names do."""

    async def take(self, name: str, count: int = 1) -> float:
        """Count `count` acts of `name`; return 0, or without counting the seconds after which it may try again."""


class OwnRates:
    """Counts in this process alone."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def take(self, name: str, count: int = 1) -> float:
        """Count `count` acts of `name`, all or none."""
        return await _take(self._limiter, self._rate, name, count)


class SharedRates:
    """Counts in Redis, for all processes together."""

    def __init__(self, client: Redis, rate: Rate) -> None:
        self._rate = rate
        # The client's own connections, with its timeouts; the address stands in them.
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix=PREFIX,
            connection_pool=client.connection_pool,  # type: ignore[arg-type] # typed for the values of an address
        )
        self._limiter = SlidingWindowCounterRateLimiter(storage)

    async def take(self, name: str, count: int = 1) -> float:
        """Count `count` acts of `name`, all or none. Raises Transient if the server is away."""
        async with translating():
            return await _take(self._limiter, self._rate, name, count)


async def _take(limiter: SlidingWindowCounterRateLimiter, rate: Rate, name: str, count: int) -> float:
    if await limiter.hit(rate.limit, name, cost=count):
        return 0
    stats = await limiter.get_window_stats(rate.limit, name)
    # A place may have come free meanwhile; 0 would say that the act was counted.
    return max(0.001, stats.reset_time - time.time())
