"""Records that are held in memory and not begun.

A handler that lets many records wait for their turn (`Each` with a large concurrency) says so with `waiting()`. When
the partition is given up, those that only wait are given back at once, to be delivered to the next owner, while those
at work get their time to finish: otherwise each rebalance would last as long as the grace, for records nobody began.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Waiting:
    """The waiting records of one partition."""

    def __init__(self, on_begun: Callable[[], None]) -> None:
        self._tasks: set[asyncio.Task[object]] = set()
        self._on_begun = on_begun
        self._over = False

    def give_back(self) -> None:
        """Cancel the tasks that wait, and each that would wait from now on."""
        self._over = True
        for task in list(self._tasks):
            task.cancel()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count the running task among those that wait. Raises CancelledError if the partition is being given up."""
        if self._over:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can wait")
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)
        self._on_begun()


_PARTITION: ContextVar[Waiting | None] = ContextVar("partition whose record this task holds", default=None)


def enter(partition: Waiting) -> None:
    """Say for the rest of the running task whose record it holds."""
    _PARTITION.set(partition)


@contextmanager
def waiting() -> Iterator[None]:
    """Inside it the record of the running task is held but not begun. Outside of a partition it means nothing."""
    partition = _PARTITION.get()
    if partition is None:
        yield
        return
    with partition.one():
        yield
