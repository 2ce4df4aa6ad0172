"""What a worker does when the group moves partitions."""

from collections.abc import Iterable
from typing import Protocol

from aiokafka import ConsumerRebalanceListener, TopicPartition

from infra.telemetry.logs import logger

log = logger(__name__)


class Member(Protocol):
    """A runtime, as the group moves it."""

    @property
    def name(self) -> str:
        """Name of the worker."""

    async def give_up(self, partitions: Iterable[TopicPartition], grace_s: float) -> None:
        """Finish what is at work in `partitions`, commit it, forget them."""

    async def forget_strays(self) -> None:
        """Drop what a poll took of an assignment already given up."""

    async def check_retention(self, partitions: Iterable[TopicPartition]) -> None:
        """Raise the alarm if records of `partitions` were deleted unread."""


class Rebalance(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types
    """Finishes and commits before partitions move to another member."""

    def __init__(self, member: Member, grace_s: float) -> None:
        self._member = member
        self._grace_s = grace_s

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Give up what is moving away."""
        await self._member.give_up(list(revoked), self._grace_s)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin with what has come."""
        partitions = list(assigned)
        await self._member.forget_strays()
        await self._member.check_retention(partitions)
        log.info("assigned", worker=self._member.name, partitions=len(partitions))
