"""How busy retrievers and inference workers are, and which models answer there: each posts it twice a second, and
gateways read all of it.

A post ends by itself, so that a worker that died is not counted for long. What is lost here costs an estimate and
nothing else: where nobody has posted, nothing is known, and whoever asks must go on without.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal, Self

from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis

from infra.ending import end
from infra.errors import Permanent, Transient
from infra.redis.client import translating
from infra.telemetry.logs import logger

log = logger(__name__)

Stage = Literal["retriever", "inference"]
PREFIXES: Mapping[Stage, str] = {"retriever": "millrace:load:retriever:1", "inference": "millrace:load:1"}
"""Each ends in the layout's version."""
EVERY_S = 0.5
"""How often a worker posts and a gateway reads. What a gateway sent since then it counts itself."""
KEPT_S = 3.0
"""A worker that is silent for so long is not counted: five posts may be late or lost."""


@dataclass(frozen=True, slots=True)
class Queued:
    """What one workspace has at one worker process."""

    waiting: int
    at_work: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """What one worker process has to do."""

    slots: int
    """What it does at once."""
    service_s: float | None
    """Mean time of a turn, in seconds; None before any has ended."""
    workspaces: Mapping[str, Queued] = field(default_factory=dict)
    """Those of which anything waits or is at work."""
    models: tuple[str, ...] = ()
    """Names that its answers can be asked for by: models and adapters of the servers behind it."""


@dataclass(frozen=True, slots=True)
class Posted:
    """A load, and how many seconds ago it was posted, by the server's clock."""

    load: Load
    age_s: float


_LOAD = TypeAdapter(Load)


class LoadBoard:
    """The loads of all processes of one stage. Every method raises Transient while the server is away."""

    def __init__(self, client: Redis, stage: Stage, kept_s: float = KEPT_S) -> None:
        self.stage = stage
        self._client = client
        self._prefix = PREFIXES[stage]
        self._kept_s = kept_s

    async def post(self, process: str, load: Load) -> None:
        """Put `load` in place of what `process` posted before."""
        async with translating(), self._client.pipeline(transaction=True) as commands:
            commands.set(self._key(process), _LOAD.dump_json(load), px=round(self._kept_s * 1_000))
            commands.sadd(self._prefix, process)
            await commands.execute()

    async def withdraw(self, process: str) -> None:
        """Take away what `process` posted: it has stopped."""
        async with translating(), self._client.pipeline(transaction=True) as commands:
            commands.delete(self._key(process))
            commands.srem(self._prefix, process)
            await commands.execute()

    async def read(self) -> list[Posted]:
        """Return what is posted now."""
        async with translating():
            processes = sorted(_text(name) for name in await self._client.smembers(self._prefix))
            if not processes:
                return []
            async with self._client.pipeline(transaction=False) as commands:
                for process in processes:
                    commands.get(self._key(process))
                    commands.pttl(self._key(process))
                found = await commands.execute()
            posts = dict(zip(processes, zip(found[::2], found[1::2], strict=True), strict=True))
            if gone := [process for process, (content, _) in posts.items() if content is None]:
                await self._client.srem(self._prefix, *gone)
        read = [_read(content, left_ms, self._kept_s) for content, left_ms in posts.values() if content is not None]
        return [posted for posted in read if posted is not None]

    def _key(self, process: str) -> str:
        return f"{self._prefix}:{process}"


class LoadWatch:
    """Reads the board regularly, so that asking for the loads costs nothing."""

    def __init__(self, board: LoadBoard, every_s: float = EVERY_S, kept_s: float = KEPT_S) -> None:
        self._board = board
        self._every_s = every_s
        self._kept_s = kept_s
        self._read: Sequence[Posted] = ()
        self._read_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, board: LoadBoard, every_s: float = EVERY_S, kept_s: float = KEPT_S) -> Self:
        """Start to read. Returns at once: until the first reading nothing is known."""
        watch = cls(board, every_s, kept_s)
        watch._task = asyncio.create_task(watch._watch(), name="load")
        return watch

    def loads(self) -> list[Posted]:
        """Return what was read last, with its age now; nothing where that is too old."""
        since = monotonic() - self._read_at
        aged = [Posted(posted.load, posted.age_s + since) for posted in self._read] if self._read else []
        return [posted for posted in aged if posted.age_s <= self._kept_s]

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            await end(self._task)

    async def _watch(self) -> None:
        away = False
        while True:
            try:
                # The age is of the moment before the server was asked: a request sent meanwhile is not in it.
                asked_at = monotonic()
                self._read, self._read_at = await self._board.read(), asked_at
                away = False
            except (Transient, Permanent) as error:
                if not away:
                    log.warning("the workers' queues are not known", stage=self._board.stage, cause=error.detail)
                away = True
            await asyncio.sleep(self._every_s)


def _text(name: bytes | str) -> str:
    return name if isinstance(name, str) else name.decode()


def _read(content: bytes, left_ms: int, kept_s: float) -> Posted | None:
    try:
        load = _LOAD.validate_json(content)
    except ValidationError:
        # Not ours, or of another layout: as good as nothing.
        return None
    return Posted(load, max(0.0, kept_s - left_ms / 1_000))
