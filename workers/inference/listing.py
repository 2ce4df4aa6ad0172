"""Knows which models can be asked for here, so that gateways can list them."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Self

from infra.ending import end
from infra.errors import Permanent, Transient
from infra.telemetry.logs import logger
from workers.inference.fleet import Member

EVERY_S = 30.0
"""How often the servers are asked: an adapter that was loaded is listed after so long."""
MOST_NAMES = 500
"""Names told at most: each gateway reads them twice a second. The big clouds list about a hundred."""
LONGEST_NAME = 200
"""What a request for a model may be long."""

log = logger(__name__)


class Listing:
    """Asks each member's server for its models every `every_s` seconds. What one that is away had is listed on: it is
    asked for all the same, and others stand in.
    """

    def __init__(self, members: Callable[[], Sequence[Member]], every_s: float = EVERY_S) -> None:
        self.names: tuple[str, ...] = ()
        self._members = members
        self._every_s = every_s
        self._listed: dict[str, frozenset[str]] = {}
        self._away: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, members: Callable[[], Sequence[Member]], every_s: float = EVERY_S) -> Self:
        """Start to ask. Returns at once: until the servers have answered no name is known."""
        listing = cls(members, every_s)
        listing._task = asyncio.create_task(listing.watch(), name="models")
        return listing

    async def close(self) -> None:
        """Stop asking."""
        if self._task is not None:
            await end(self._task)

    async def watch(self) -> None:
        """Ask again and again."""
        while True:
            await self.ask()
            await asyncio.sleep(self._every_s)

    async def ask(self) -> None:
        """Ask each server once, all at the same time."""
        members = self._members()
        found = await asyncio.gather(*(self._of(member) for member in members))
        self._listed = {member.name: names for member, names in zip(members, found, strict=True)}
        fitting = {name for names in found for name in names if len(name) <= LONGEST_NAME}
        self.names = tuple(sorted(fitting)[:MOST_NAMES])

    async def _of(self, member: Member) -> frozenset[str]:
        try:
            names = await member.backend.names()
        except (Transient, Permanent) as error:
            if member.name not in self._away:
                log.warning("a server cannot be asked for its models", backend=member.name, cause=error.detail)
            self._away.add(member.name)
            return self._listed.get(member.name, frozenset())
        self._away.discard(member.name)
        return names
