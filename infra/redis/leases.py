"""Numbered places, each held by one process at a time, for as long as it says that it is there."""

from redis.asyncio import Redis
from redis.asyncio.lock import Lock
from redis.exceptions import LockNotOwnedError

from infra.redis.client import translating

PREFIX = "millrace:lease:1"
"""Ends in the layout's version."""


class Lease:
    """A hold on one of `places` places called `name`; it ends `ttl_s` seconds after it was last taken."""

    def __init__(self, client: Redis, name: str, places: int, ttl_s: float) -> None:
        self._client = client
        self._name = name
        self._places = places
        self._ttl_s = ttl_s
        self._held: tuple[int, Lock] | None = None

    async def take(self, wanted: int) -> int | None:
        """Return the place held: the one held before, for another `ttl_s`; else the first free one from `wanted` on.

        None: all are taken. Raises Transient if the server is away; what was held before may have ended by then.
        """
        async with translating():
            if self._held is not None:
                place, lock = self._held
                try:
                    await lock.extend(self._ttl_s, replace_ttl=True)
                except LockNotOwnedError:
                    # We were silent for too long, or the server has forgotten: somebody else may stand there.
                    self._held = None
                else:
                    return place
            for step in range(self._places):
                place = (wanted + step) % self._places
                lock = Lock(self._client, f"{PREFIX}:{self._name}:{place}", self._ttl_s, thread_local=False)
                if await lock.acquire(blocking=False):
                    self._held = (place, lock)
                    return place
        return None

    async def release(self) -> None:
        """Give the place back at once. Raises Transient."""
        if self._held is None:
            return
        (_, lock), self._held = self._held, None
        async with translating():
            try:
                await lock.release()
            except LockNotOwnedError:
                return
