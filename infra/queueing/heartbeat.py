"""Tells the gateways how busy this process is, so that they can refuse what would be answered too late."""

import asyncio
import os
import socket
from collections.abc import Callable
from secrets import token_hex
from typing import Protocol, Self

from infra.ending import end
from infra.errors import Permanent, Transient
from infra.redis.load import EVERY_S, Load
from infra.telemetry.logs import logger

log = logger(__name__)


class Board(Protocol):
    """Where loads are posted. Raises Transient, Permanent."""

    async def post(self, process: str, load: Load) -> None:
        """Put `load` in place of what `process` posted before."""

    async def withdraw(self, process: str) -> None:
        """Take it away."""


class Heartbeat:
    """Posts this process's load every `every_s` seconds. A board that is away is said once and tried again."""

    def __init__(self, board: Board, load: Callable[[], Load], every_s: float = EVERY_S) -> None:
        self._board = board
        self._load = load
        self._every_s = every_s
        # Not even this process's successor has it: the two may be there at once, and the old one's post ends by itself.
        self._process = f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, board: Board, load: Callable[[], Load], every_s: float = EVERY_S) -> Self:
        """Start to post. Returns at once."""
        heartbeat = cls(board, load, every_s)
        heartbeat._task = asyncio.create_task(heartbeat._beat(), name="load")
        return heartbeat

    async def close(self) -> None:
        """Stop, and be counted no more."""
        if self._task is None:
            return
        await end(self._task)
        try:
            await self._board.withdraw(self._process)
        except (Transient, Permanent) as error:
            log.warning("this process is counted until its load ends by itself", cause=error.detail)

    async def _beat(self) -> None:
        away = False
        while True:
            try:
                await self._board.post(self._process, self._load())
                away = False
            except (Transient, Permanent) as error:
                if not away:
                    log.warning("the gateways do not hear how busy this process is", cause=error.detail)
                away = True
            await asyncio.sleep(self._every_s)
