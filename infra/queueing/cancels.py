"""Ends work on questions whose asker has gone."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from uuid import UUID

from schemas.chat_cancel import ChatCancel

MOST_REMEMBERED = 10_000
"""Cancels kept for questions that have not come yet (about 3 MB); more push out the oldest."""


class AskerGone(Exception):  # noqa: N818 - an event, as its handler reads it
    """The question was cancelled."""


class Cancels:
    """The cancels heard lately, and the questions at work that one may concern.

    `remember_s` is as long as a question may be on its way here: the longest deadline. A cancel can come before its
    question, which waits in the log, is retrieved first, or was delivered to a worker that died.
    """

    def __init__(self, remember_s: float, most: int = MOST_REMEMBERED, clock: Callable[[], float] = monotonic) -> None:
        self._remember_s = remember_s
        self._most = most
        self._clock = clock
        self._heard: OrderedDict[tuple[str, UUID], float] = OrderedDict()
        self._at_work: defaultdict[tuple[str, UUID], list[asyncio.Timeout]] = defaultdict(list)

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._heard)

    def hear(self, cancel: ChatCancel) -> None:
        """End the work on that question, now or when it comes. The workspace counts: nobody cancels for another."""
        key = (cancel.workspace, cancel.request_id)
        now = self._clock()
        self._heard[key] = now + self._remember_s
        self._heard.move_to_end(key)
        while self._heard and (len(self._heard) > self._most or next(iter(self._heard.values())) <= now):
            self._heard.popitem(last=False)
        for scope in self._at_work.get(key, ()):
            if not scope.expired():
                # Ends what the scope waits for in the next step of the loop, however silent a connection is.
                scope.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def heeded(self, workspace: str, request_id: UUID) -> AsyncIterator[None]:
        """Work inside the context, which a cancel of that request ends. Raises AskerGone."""
        key = (workspace, request_id)
        if self._heard.get(key, float("-inf")) > self._clock():
            raise AskerGone
        scope = asyncio.timeout(None)
        self._at_work[key].append(scope)
        try:
            async with scope:
                yield
        except TimeoutError:
            if scope.expired():
                raise AskerGone from None
            raise
        finally:
            self._at_work[key].remove(scope)
            if not self._at_work[key]:
                del self._at_work[key]
