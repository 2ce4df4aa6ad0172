"""Parses in child processes: a document that hangs, eats memory or kills its parser harms nobody but itself."""

import asyncio
import multiprocessing
from concurrent.futures import TimeoutError as FutureTimeoutError

from pebble import ProcessExpired, ProcessPool

from infra.errors import Permanent
from schemas.dead_letters import Reason
from workers.normalizer.parse.parsed import Feed, Job, Parsed, ParseError
from workers.normalizer.parse.run import confine, run
from workers.normalizer.settings import NormalizerSettings

_MIB = 1024 * 1024


class Sandbox:
    """A pool of parser children, started with the first job and ended when there was none for a while.

    Spawned and not forked: a fork would share the event loop's sockets and the locks of native threads.
    """

    def __init__(self, settings: NormalizerSettings) -> None:
        self._settings = settings
        self._pool: ProcessPool | None = None
        self._busy = 0
        self._idle: asyncio.TimerHandle | None = None

    async def parse(self, job: Job) -> Parsed | Feed:
        """Return what `job` holds.

        Raises Permanent: PARSER_TIMEOUT, PARSER_CRASH, or the reason that the parser gives.
        """
        seconds = self._settings.parse_seconds
        self._busy += 1
        self._stop_waiting()
        try:
            future = self._started().schedule(run, args=[job, seconds], timeout=seconds)
            return await asyncio.wrap_future(future)
        except ParseError as error:
            raise Permanent(Reason(error.reason), error.detail) from error
        except (FutureTimeoutError, TimeoutError) as error:
            raise Permanent(Reason.PARSER_TIMEOUT, f"not read within {seconds} s") from error
        except ProcessExpired as error:
            raise Permanent(Reason.PARSER_CRASH, f"the parser died: exit code {error.exitcode}") from error
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle = asyncio.get_running_loop().call_later(self._settings.parse_idle_seconds, self._end_unused)

    async def close(self) -> None:
        """End all children now."""
        self._stop_waiting()
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(_end, pool)

    @property
    def running(self) -> bool:
        """Whether children are there."""
        return self._pool is not None

    def _started(self) -> ProcessPool:
        if self._pool is None or not self._pool.active:
            self._pool = ProcessPool(
                max_workers=self._settings.parse_processes,
                initializer=confine,
                initargs=[self._settings.parse_memory_mb * _MIB],
                context=multiprocessing.get_context("spawn"),
            )
        return self._pool

    def _stop_waiting(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _end_unused(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            asyncio.get_running_loop().run_in_executor(None, _end, pool)


def _end(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()
