"""Ends background tasks for certain."""

import asyncio
from typing import Any

AGAIN_S = 3.0
"""How long what a task does to clean up may take, before it is cancelled again."""


async def end(*tasks: "asyncio.Task[Any]", again_s: float = AGAIN_S) -> None:
    """Cancel `tasks` and return when all have ended, with whatever result or error.

    One that goes on is cancelled again: before Python 3.12 `asyncio.wait_for` loses a cancel that comes in the very
    step in which its work is done (https://github.com/python/cpython/issues/86296), and Redis' client (8.1) calls it
    for each command; aiokafka has a replacement of its own. A loop around such a call, cancelled once, would go on for
    ever, and its owner would wait for it.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again_s)
