"""Publishes an answer while it is written, in pieces that are worth a record."""

import asyncio
from collections.abc import Awaitable, Callable

from infra.ending import end
from infra.errors import Transient
from infra.telemetry.logs import logger

Send = Callable[[int, str], Awaitable[None]]
"""Publishes the delta of a sequence number; returns once acknowledged. Raises Transient."""

END_WITHIN_S = 2.0
"""How long the delta under way is waited for: the final reply holds the whole text all the same."""
_TRY_AGAIN_S = 0.1
log = logger(__name__)


class Deltas:
    """Joins pieces until `characters` are together or `every_s` has passed since the last delta.

    The first piece goes out at once. One delta is under way at a time, and the next begins when it is acknowledged, so
    that what a reader has is always the beginning of the answer; while the broker is slow the deltas grow instead.
    """

    def __init__(self, send: Send, *, every_s: float, characters: int) -> None:
        self._send = send
        self._every_s = every_s
        self._characters = characters
        self._unsent: list[str] = []
        self._length = 0
        self._some = asyncio.Event()
        self._enough = asyncio.Event()
        self._ending = False
        self._under_way = False
        self.sequence = 0
        """Number of the next reply."""
        self._task: asyncio.Task[None] | None = None

    def add(self, piece: str) -> None:
        """Take the next piece. Never waits."""
        self._unsent.append(piece)
        self._length += len(piece)
        self._some.set()
        if self._length >= self._characters:
            self._enough.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="deltas")

    async def end(self) -> None:
        """Publish no more, and wait until what is under way is acknowledged: the final reply, which holds the whole
        text, tells what is left. Gives up after `END_WITHIN_S`: the final reply is what counts.
        """
        self._ending = True
        self._some.set()
        self._enough.set()
        if self._task is None:
            return
        try:
            async with asyncio.timeout(END_WITHIN_S):
                await self._task
        except TimeoutError:
            log.warning("the last deltas were not acknowledged in time", sequence=self.sequence)
            self._skip()

    async def drop(self) -> None:
        """Publish nothing more."""
        self._ending = True
        if self._task is not None:
            await end(self._task)
            self._skip()

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            if self._ending:
                return
            text = "".join(self._unsent)
            self._unsent.clear()
            self._length = 0
            self._enough.clear()
            self._some.clear()
            await self._sent(text)
            if not self._ending:
                await self._pause()

    def _skip(self) -> None:
        if self._under_way:
            # It may still arrive: its number is used up.
            self._under_way = False
            self.sequence += 1

    async def _sent(self, text: str) -> None:
        self._under_way = True
        while True:
            try:
                await self._send(self.sequence, text)
            except Transient as error:
                # The same delta again, never the next one: it may have arrived.
                log.warning("a delta was not acknowledged", cause=error.detail)
                await asyncio.sleep(_TRY_AGAIN_S)
            else:
                self._under_way = False
                self.sequence += 1
                return

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._every_s):
                await self._enough.wait()
        except TimeoutError:
            return
