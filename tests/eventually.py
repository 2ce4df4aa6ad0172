"""Waiting for a condition, to a deadline. The only place in the tests that sleeps."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

Result = TypeVar("Result")

PATIENCE_S = 60.0
"""No wait gives up earlier: what takes a tenth of a second takes ten beside a load, and a passing test waits for none
of it. A deadline tells that something hangs, never how fast it is."""


async def eventually(
    check: Callable[[], Result | Awaitable[Result]], within: float = PATIENCE_S, every: float = 0.05
) -> Result:
    """Call `check` every `every` seconds until it returns something true, and return that.

    An AssertionError of the check counts as not yet; any other error ends the wait. Raises AssertionError with the last
    value (or the check's own AssertionError) after `within` seconds, never fewer than `PATIENCE_S`.
    """
    within = max(within, PATIENCE_S)
    deadline = monotonic() + within
    while True:
        failure: AssertionError | None = None
        value: Result | None = None
        try:
            outcome = check()
            value = await outcome if inspect.isawaitable(outcome) else outcome
        except AssertionError as error:
            failure = error
        if value:
            return value
        if monotonic() > deadline:
            raise failure or AssertionError(f"still {value!r} after {within:g} s")
        await asyncio.sleep(every)


async def lapse(seconds: float) -> None:
    """Let time pass where time itself is under test: a race's head start, a loop that must keep waking.

    Never to wait for something: a slow machine would then fail a correct program.
    """
    await asyncio.sleep(seconds)


def block(seconds: float) -> None:
    """Hold the thread, and with it any event loop on it: where just that is the fault under test."""
    time.sleep(seconds)
