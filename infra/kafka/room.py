"""How much the partitions of one worker may hold in memory, together and each."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

FETCH_BYTES = 256 * 1024
"""What one fetch brings of a partition. aiokafka keeps one fetch of each partition ready, so that partitions times this
is held besides what the lanes hold. Not below the size of a producer's batch: a batch over it comes only as the first
of a whole answer (KIP-74), one round trip each."""
POLLED = 4
"""One poll takes at most this part of the room."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What all partitions of a worker may hold in memory together: about 4 MB, whatever waits on the log.

    What is held is also how far a worker sees past one workspace's records to those of the others.
    """

    records: int = 1_000
    bytes: int = 4 * 1024 * 1024

    def within(self, records: int, size: int) -> "Limits":
        """Return these limits, or less where that is more than `records` or `size` bytes."""
        return Limits(min(self.records, records), min(self.bytes, size))


class Holder(Protocol):
    """A partition's queue."""

    @property
    def held(self) -> int:
        """Records offered and not yet finished."""

    @property
    def held_bytes(self) -> int:
        """What they take in memory."""


@dataclass(frozen=True, slots=True)
class Room:
    """What is held of the limits now.

    A partition is full, and not read from, when it holds its equal share and the room is spent, or half of the room in
    any case: one busy partition may use what idle ones leave, and one that waits for a dependency cannot starve the
    others.
    All of them together hold at most twice the limits and one poll more, and one for each partition: one that has less
    than its share is read from though the room is spent. A poll of one partition brings at most what a fetch does.
    """

    limits: Limits
    partitions: int
    records: int
    bytes: int

    @classmethod
    def of(cls, limits: Limits, holders: Iterable[Holder]) -> "Room":
        """Add up what `holders` hold."""
        held = [(holder.held, holder.held_bytes) for holder in holders]
        return cls(limits, max(1, len(held)), sum(one for one, _ in held), sum(size for _, size in held))

    def full(self, holder: Holder) -> bool:
        """Whether the partition should be read no further for now."""
        if not self._over(holder.held, holder.held_bytes, self.partitions):
            return False
        return self._over(self.records, self.bytes, 1) or self._over(holder.held, holder.held_bytes, 2)

    def drained(self, holder: Holder) -> bool:
        """Whether a full partition should be read again."""
        if not self._over(holder.held, holder.held_bytes, 2 * self.partitions):
            return True
        return not self._over(self.records, self.bytes, 2) and not self._over(holder.held, holder.held_bytes, 4)

    def _over(self, records: int, size: int, parts: int) -> bool:
        """Whether so much is at least one of `parts` parts of the limits."""
        return records * parts >= self.limits.records or size * parts >= self.limits.bytes
