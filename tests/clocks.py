"""A clock that does not wait, where when something happens is under test."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def skipping() -> Iterator[None]:
    """Let the running loop's clock jump to its next timer wherever nothing else is to be done.

    Times of `loop.time()` within are those of a machine that is infinitely fast, however busy this one is. For code
    that waits on timers alone: what waits for another process is not waited for.
    """
    loop: Any = asyncio.get_running_loop()
    stopped, skipped = loop.time(), 0.0
    select = loop._selector.select

    def jump(timeout: float | None = None) -> Any:
        nonlocal skipped
        ready = select(0)
        if not ready and timeout:
            skipped += timeout
        return ready

    loop.time = lambda: stopped + skipped
    loop._selector.select = jump
    try:
        yield
    finally:
        del loop.time
        loop._selector.select = select
