"""What is still to be done after a response has ended."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from infra.ending import end
from infra.errors import Permanent, Transient
from infra.telemetry.logs import logger

log = logger(__name__)


class Errands:
    """Tasks that no request waits for. They end with the process: what they do must not be needed by anybody."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Start `work`. A dependency that fails it is logged."""
        task = asyncio.create_task(_logged(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def count(self) -> int:
        """How many are still to be done."""
        return len(self._tasks)

    async def close(self) -> None:
        """End what is still running."""
        await end(*self._tasks)


async def _logged(work: Coroutine[Any, Any, None], name: str) -> None:
    try:
        await work
    except (Transient, Permanent) as error:
        log.warning("could not be done", errand=name, cause=error.detail)
