"""Stops asking a backend that does not answer, and tries it again after a while.

    closed      every attempt is let through; `failures` of them failing in a row open it
    open        nothing is let through for `rest_s` seconds
    half-open   one attempt is let through; if it succeeds the breaker closes, if it fails it opens anew

After M. Nygard, "Release It!" (2nd ed. 2018, ch. 5). An attempt fails by an error of the backend, or by being given up
after `silence_s` seconds without a sign of life. One that ends for another reason (the asker has gone, the deadline
came while text flowed, the request itself is at fault) says nothing about the backend.

An error that the server itself answers with counts once for a question, however often that is tried: some questions
make a sound server fail (vLLM 0.32 answers 500 to a schema that refers to itself), and nobody's question should take it
from all others.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from time import monotonic
from typing import Protocol

from infra.errors import Permanent, Transient
from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, gauge
from workers.inference.backends.backend import Faulted, NothingSaid, RequestRefused

log = logger(__name__)


class State(IntEnum):
    """State of a breaker; the number is what the metric shows."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Resting(Exception):  # noqa: N818 - an answer, not an error
    """The backend is not asked now."""


class Heard(Protocol):
    """Tells whether the backend gave a sign of life in this attempt."""

    @property
    def heard(self) -> bool:
        """Whether anything came."""
        ...


class Breaker:
    """The breaker of one backend."""

    def __init__(
        self,
        name: str,
        *,
        failures: int = 3,
        silence_s: float = 5.0,
        rest_s: float = 30.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._name = name
        self._limit = failures
        self._silence_s = silence_s
        self._rest_s = rest_s
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False
        self._report()

    @property
    def state(self) -> State:
        """What an attempt would meet now."""
        if self._opened_at is None:
            return State.CLOSED
        return State.HALF_OPEN if self._clock() - self._opened_at >= self._rest_s else State.OPEN

    @contextmanager
    def attempt(self, said: Heard, *, faulted: bool = False) -> Iterator[None]:
        """Judge the attempt inside the context, which hears with `said`. Raises Resting instead of beginning it.

        `faulted`: the server has answered this question with an error of its own before.
        """
        state = self.state
        if state is State.OPEN or (state is State.HALF_OPEN and self._probing):
            raise Resting(self._name)
        probe = self._probing = state is State.HALF_OPEN
        started = self._clock()
        try:
            yield
        except (RequestRefused, NothingSaid):
            self._succeeded()
            raise
        except (Transient, Permanent) as error:
            if not (faulted and isinstance(error, Faulted)):
                self._failed()
            raise
        except asyncio.CancelledError:
            if not said.heard and self._clock() - started >= self._silence_s:
                self._failed()
            raise
        else:
            self._succeeded()
        finally:
            if probe:
                self._probing = False

    def _succeeded(self) -> None:
        if self._opened_at is not None:
            log.info("a backend answers again", backend=self._name)
        self._failures = 0
        self._opened_at = None
        self._report()

    def _failed(self) -> None:
        self._failures += 1
        if self._failures >= self._limit or self._opened_at is not None:
            if self._opened_at is None:
                log.warning("a backend is left alone", backend=self._name, failures=self._failures, for_s=self._rest_s)
            self._opened_at = self._clock()
        self._report()

    def _report(self) -> None:
        gauge(Metric.BACKEND_BREAKER, self.state, self._name)
