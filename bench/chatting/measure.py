"""The measurements of a run, each by questions that are answered with themselves."""

import asyncio
import statistics
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import count
from time import perf_counter
from typing import Any

import psutil

from bench.chatting.client import OK, Asked, Connection, Target, ask_all
from bench.chatting.ground import Ground

_numbers = count()


def questions(number: int, start: str = "what is") -> list[str]:
    """Return questions, each unlike any other of the run."""
    return [f"{start} {next(_numbers)}?" for _ in range(number)]


@dataclass(frozen=True, slots=True)
class Taken:
    """Milliseconds that questions took."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Taken":
        """Summarise."""
        cuts = statistics.quantiles(seconds, n=100, method="inclusive")
        return cls(*(round(cuts[at - 1] * 1_000, 2) for at in (50, 95, 99)))

    def less(self, other: "Taken") -> "Taken":
        """Return what is added to `other`."""
        return Taken(round(self.p50 - other.p50, 2), round(self.p95 - other.p95, 2), round(self.p99 - other.p99, 2))


@dataclass(frozen=True, slots=True)
class Way:
    """One way to the backend, at one number of questions at once."""

    whole: Taken
    first: Taken
    """To the first word."""
    per_s: float
    cpu_ms: dict[str, float]
    """CPU milliseconds per question, by process."""

    @property
    def cpu_s(self) -> float:
        """CPU seconds per question, of all processes."""
        return sum(self.cpu_ms.values()) / 1_000

    @property
    def per_core_s(self) -> float:
        """Questions that a core carries per second."""
        return 1 / self.cpu_s if self.cpu_s else float("inf")


async def along(target: Target, at_once: int, number: int, *, stream: bool, cpu: Callable[[], dict[str, float]]) -> Way:
    """Ask `number` questions and return what they took. Raises RuntimeError if one was not answered."""
    before, began = cpu(), perf_counter()
    found = await ask_all(target, questions(number), at_once, stream=stream)
    took, after = perf_counter() - began, cpu()
    if bad := [asked.status for asked in found if asked.status != OK]:
        raise RuntimeError(f"{target.name}: {len(bad)} of {number} questions were answered {bad[0]}")
    return Way(
        Taken.of([asked.whole_s for asked in found]),
        Taken.of([asked.first_s for asked in found]),
        number / took,
        {name: (after[name] - before[name]) / number * 1_000 for name in after},
    )


def ways(ground: Ground) -> dict[str, tuple[Target, Callable[[], dict[str, float]]]]:
    """Return what is compared, with how its CPU time is read."""
    found: dict[str, tuple[Target, Callable[[], dict[str, float]]]] = {
        "backend": (ground.backend, dict),
        "millrace": (ground.gateway, ground.cpu_s),
    }
    if ground.litellm is not None:
        found["litellm"] = (ground.litellm, lambda: {"litellm": ground.litellm_cpu_s()})
    return found


async def warm(ground: Ground, number: int) -> None:
    """Ask some questions that are not counted."""
    for target, _ in ways(ground).values():
        for stream in (False, True):
            await ask_all(target, questions(number), 8, stream=stream)


async def open_streams(ground: Ground, number: int) -> dict[str, Any]:
    """Open `number` streams whose answers are held back; return the gateway's memory with them, then without.

    Every answer is checked against its question, half of them another workspace's.
    """
    gateway = psutil.Process(ground.processes["gateway"])
    idle = gateway.memory_info().rss
    asked = questions(number, "hold")
    async with AsyncExitStack() as stack:
        targets = [ground.gateway if at % 2 else ground.other for at in range(number)]
        connections = [await stack.enter_async_context(Connection(target)) for target in targets]
        asking = [
            asyncio.create_task(connection.ask(question, stream=True))
            for connection, question in zip(connections, asked, strict=True)
        ]
        # The gateway sends the head of a stream that says nothing after its time of keep-alive.
        done, _ = await asyncio.wait(asking, timeout=30)
        if done:
            raise RuntimeError(f"{len(done)} streams ended before their answers were let go: {done.pop().result()}")
        held = gateway.memory_info().rss
        began = perf_counter()
        await _release(ground.backend)
        answers = await asyncio.gather(*asking)
    if bad := [each.status for each in answers if each.status != OK]:
        raise RuntimeError(f"{len(bad)} of {number} streams were answered {bad[0]}")
    return {
        "streams": number,
        "idle_mb": round(idle / 1e6, 1),
        "open_mb": round(held / 1e6, 1),
        "kb_each": round((held - idle) / number / 1e3, 1),
        "answered_within_s": round(perf_counter() - began, 2),
    }


async def _release(backend: Target) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", backend.port)
    writer.write(b"GET /release HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def fair_share(
    ground: Ground, queued: int, answer_s: float, singles: int, *, retrieve: bool = False
) -> dict[str, Any]:
    """Queue `queued` questions of one workspace; return what single questions of another one are delayed by.

    The backend takes `answer_s` seconds for each. With `retrieve` each is searched for, in an empty index.
    """
    flooding, other = (
        replace(target, fields=target.fields | {"millrace": {"retrieve": retrieve}})
        for target in (ground.gateway, ground.other)
    )
    alone = [(await _single(other, answer_s)).whole_s for _ in range(singles)]
    async with AsyncExitStack() as stack:
        flood = [await stack.enter_async_context(Connection(flooding)) for _ in range(queued)]
        began = perf_counter()
        asking = [
            asyncio.create_task(connection.ask(question))
            for connection, question in zip(flood, questions(queued, f"slow {answer_s:g}"), strict=True)
        ]
        # The first answer shows that the flood has arrived.
        await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        beside = []
        for _ in range(singles):
            waiting = sum(not task.done() for task in asking)
            beside.append(((await _single(other, answer_s)).whole_s, waiting))
        answers = await asyncio.gather(*asking)
        took = perf_counter() - began
    statuses = [asked.status for asked in answers]
    delays = [seconds - statistics.median(alone) for seconds, _ in beside]
    return {
        "queued": queued,
        "answer_s": answer_s,
        "waiting_when_asked": [waiting for _, waiting in beside],
        "alone_s": [round(seconds, 3) for seconds in alone],
        "delay_s": [round(delay, 3) for delay in delays],
        "answered": statuses.count(OK),
        "refused": statuses.count(429),
        "otherwise": len(statuses) - statuses.count(OK) - statuses.count(429),
        "drained_within_s": round(took, 1),
    }


async def _single(target: Target, answer_s: float) -> Asked:
    async with Connection(target) as connection:
        (question,) = questions(1, f"slow {answer_s:g}")
        asked = await connection.ask(question)
    if asked.status != OK:
        raise RuntimeError(f"a single question was answered {asked.status}")
    return asked
