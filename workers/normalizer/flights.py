"""Publishes the states of a document in the order in which the gate let them through.

The batches of several workspaces, kinds and partitions are at work at once, and two of them may hold states of one
document: under different keys (a user's deletion and a webhook), or a removal and what stands in it. Both pass the gate
one after the other; without more, the second may reach the log first, and what compaction keeps would be the older.

Of this process only: the gate's rows hold between processes, the order of publications does not (`gate`).
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID


class Flight:
    """Some states between the gate and the log."""

    def __init__(self, live: dict[UUID, set["Flight"]]) -> None:
        self._live = live
        self._documents: frozenset[UUID] = frozenset()
        self._earlier: set[Flight] = set()
        self._ended = asyncio.Event()

    def take(self, documents: Iterable[UUID]) -> None:
        """Note whose states these are, once. To be called as soon as the gate has answered, before anything else is
        awaited: that keeps the gate's order.
        """
        self._documents = frozenset(documents)
        for each in self._documents:
            flights = self._live.setdefault(each, set())
            self._earlier |= flights
            flights.add(self)

    async def clear(self) -> None:
        """Return when all that took one of these documents before are on the log, or have failed."""
        # They wait only for what is earlier still, so that nobody waits in a circle.
        for each in self._earlier:
            await each._ended.wait()

    def end(self) -> None:
        """Let go what waits for it; a second time nothing happens."""
        for each in self._documents:
            flights = self._live[each]
            flights.discard(self)
            if not flights:
                del self._live[each]
        self._documents = frozenset()
        self._ended.set()


class Flights:
    """All of this process."""

    def __init__(self) -> None:
        self._live: dict[UUID, set[Flight]] = {}

    @contextmanager
    def one(self) -> Iterator[Flight]:
        """Yield a flight that ends with the block: leave it when the broker has acknowledged, or all is lost."""
        flight = Flight(self._live)
        try:
            yield flight
        finally:
            flight.end()
