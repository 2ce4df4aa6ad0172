"""Run things beside each other and fail with the first plain error, not with a group of them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first plain error of a group, however deeply nested."""
    fault = group.exceptions[0]
    return first(fault) if isinstance(fault, BaseExceptionGroup) else fault


async def together(*parts: Coroutine[Any, Any, Result]) -> list[Result]:
    """Return the results of `parts` in order; when one fails the others are cancelled and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part) for part in parts]
    except BaseExceptionGroup as faults:
        raise first(faults) from None
    return [task.result() for task in tasks]
