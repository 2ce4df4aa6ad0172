"""More questions with retrieval than can be searched for in time: who is answered, refused, or waits in vain."""

import asyncio
import statistics
from contextlib import AsyncExitStack
from dataclasses import replace
from time import perf_counter
from typing import Any

from bench.chatting.client import Connection
from bench.chatting.ground import Ground
from bench.chatting.measure import along, questions

SEARCHED = {"millrace": {"retrieve": True}}


async def overloaded(ground: Ground, number: int, per_s: float) -> dict[str, Any]:
    """Ask `number` questions, `per_s` a second whoever is answered; return by status how many, and after how long."""
    target = replace(ground.gateway, fields=ground.gateway.fields | SEARCHED)
    # Until the retriever has told how long a search takes, nobody is refused.
    warmed = await along(target, 20, 300, stream=False, cpu=ground.cpu_s)
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(Connection(target)) for _ in range(number)]
        began = perf_counter()

        async def ask(at: int, connection: Connection, question: str) -> tuple[int, float]:
            await asyncio.sleep(began + at / per_s - perf_counter())
            asked_at = perf_counter()
            return (await connection.ask(question)).status, perf_counter() - asked_at

        pairs = zip(connections, questions(number), strict=True)
        answers = await asyncio.gather(*(ask(at, *pair) for at, pair in enumerate(pairs)))
    figures: dict[str, Any] = {"asked": number, "per_s": per_s, "answered_per_s_at_20": round(warmed.per_s)}
    for status in sorted({status for status, _ in answers}):
        took = sorted(seconds for found, seconds in answers if found == status)
        figures[str(status)] = len(took)
        figures[f"{status}_s"] = f"median {statistics.median(took):.2f}, most {took[-1]:.2f}"
    return figures
