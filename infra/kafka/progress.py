"""Which offset of a partition may be committed."""

from collections import deque
from collections.abc import Iterable


class Progress:
    """Tracks the contiguous finished prefix of one partition.

    Records are started in offset order and finished in any order. `committable` is the offset to commit: every record
    below it that was started is finished. Offsets may have gaps (compaction, transactions).
    """

    def __init__(self) -> None:
        self._started: deque[int] = deque()
        self._finished: set[int] = set()
        self._committable: int | None = None

    @property
    def committable(self) -> int | None:
        """Offset to commit, None before any prefix is finished."""
        return self._committable

    @property
    def started(self) -> int:
        """How many started records are remembered: all from the first unfinished one on."""
        return len(self._started)

    @property
    def unfinished(self) -> int:
        """How many started records are not finished."""
        return len(self._started) - len(self._finished)

    def start(self, offset: int) -> None:
        """Take up a record. Raises ValueError if offsets do not rise: a jump back needs a new Progress."""
        if self._started and offset <= self._started[-1]:
            raise ValueError(f"offset {offset} started after {self._started[-1]}")
        self._started.append(offset)

    def finish(self, offset: int) -> None:
        """Mark a started record as finished."""
        self.finish_all((offset,))

    def finish_all(self, offsets: Iterable[int]) -> None:
        """Mark started records as finished."""
        started, finished = self._started, self._finished
        finished.update(offsets)
        first = None
        while started and started[0] in finished:
            first = started.popleft()
            finished.discard(first)
        if first is not None:
            self._committable = first + 1
