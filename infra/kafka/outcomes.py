"""The closed set of ways in which the handling of a delivery can end."""

from dataclasses import dataclass

from infra.errors import Permanent, Transient
from infra.kafka.retry import Backoff
from schemas.dead_letters import Reason

HANDLER_ATTEMPTS = 3
"""Tries of a handler that fails with an error nobody has classed, before its record is dead-lettered."""


@dataclass(frozen=True, slots=True)
class Done:
    """Effects and publications are durable."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Wait `delay_s`, then handle again; the partition waits with it."""

    delay_s: float
    dependency: str
    detail: str


@dataclass(frozen=True, slots=True)
class Dead:
    """Publish to `dead.letters`, then go on."""

    reason: Reason
    detail: str


Outcome = Done | Retry | Dead


def judge(error: Exception, attempt: int, backoff: Backoff) -> Retry | Dead:
    """Decide what follows from `error` at try number `attempt` (1, 2, …).

    A transient failure is retried for as long as it lasts: a dependency that is down fills no dead letters. An error
    that no adapter has classed is a bug here or in a library: tried a few times, then dead-lettered.
    """
    match error:
        case Transient():
            delay = error.retry_after if error.retry_after is not None else backoff.delay(attempt)
            return Retry(min(delay, backoff.cap_s), error.dependency, error.detail)
        case Permanent():
            return Dead(error.reason, error.detail)
        case _ if attempt < HANDLER_ATTEMPTS:
            return Retry(backoff.delay(attempt), "handler", type(error).__name__)
        case _:
            # The type alone: a message may quote content or a secret; the log line has the stack.
            return Dead(Reason.HANDLER_ERROR, f"{type(error).__name__} after {attempt} attempts")
