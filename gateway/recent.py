"""Remembers answers for a few seconds, so that a burst of requests asks Postgres once."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime
from time import monotonic
from typing import Generic, TypeVar
from uuid import UUID

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

MAX_ENTRIES = 10_000
"""Bounds the memory that a client can take by asking for names that do not exist."""


class Recent(Generic[Key, Value]):
    """Answers of `load`, each believed for `seconds`. Those who ask for one key at once share one call."""

    def __init__(self, load: Callable[[Key], Awaitable[Value]], seconds: float) -> None:
        self._load = load
        self._seconds = seconds
        self._answers: OrderedDict[Key, tuple[float, Value]] = OrderedDict()
        self._loading: dict[Key, asyncio.Task[Value]] = {}

    async def get(self, key: Key) -> Value:
        """Return the answer for `key`. Raises what `load` raises; a failure is not remembered."""
        held = self._answers.get(key)
        if held is not None and monotonic() < held[0]:
            return held[1]
        task = self._loading.get(key)
        if task is None:
            task = asyncio.ensure_future(self._fetch(key))
            self._loading[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        # Shielded: one client that hangs up must not cancel the others' answer.
        return await asyncio.shield(task)

    def forget(self, key: Key) -> None:
        """Ask again next time: this process has changed what stands behind `key`."""
        self._answers.pop(key, None)
        self._loading.pop(key, None)

    async def _fetch(self, key: Key) -> Value:
        # Counted from before the question: an answer is never believed longer than `seconds` after it was true.
        until = monotonic() + self._seconds
        answer = await self._load(key)
        if self._loading.get(key) is asyncio.current_task():
            self._answers[key] = (until, answer)
            self._answers.move_to_end(key)
            while len(self._answers) > MAX_ENTRIES:
                self._answers.popitem(last=False)
        return answer

    def _finished(self, key: Key, task: "asyncio.Task[Value]") -> None:
        if self._loading.get(key) is task:
            del self._loading[key]
        if not task.cancelled():
            task.exception()  # read it: every waiter may have hung up


class Lately:
    """The times of the last things that happened, by their names; the oldest are forgotten."""

    def __init__(self, most: int = MAX_ENTRIES) -> None:
        self._most = most
        self._times: dict[tuple[str, UUID], datetime] = {}

    def note(self, name: tuple[str, UUID], at: datetime) -> None:
        """Remember when it happened first."""
        self._times.setdefault(name, at)
        if len(self._times) > self._most:
            del self._times[next(iter(self._times))]

    def at(self, name: tuple[str, UUID]) -> datetime | None:
        """Return when it happened, None if that is not known."""
        return self._times.get(name)
