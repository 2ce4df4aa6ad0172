"""The closed set of ways in which the handling of a delivery can end."""

from collections import Counter
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


class CeilingReached(Exception):  # noqa: N818 - an event, as its handler reads it
    """Too many records in a row were dead-lettered: the fault is not in the records. Stops the partition."""


class WorkspaceStopped(Exception):  # noqa: N818 - an event, as its handler reads it
    """Too many records in a row were dead-lettered, all of one workspace. Its records stay where they are."""


class Ceiling:
    """Counts dead letters in a row, and stops a consumer that would drain its topic into `dead.letters`.

    A row of one workspace stops that workspace: what it sends, or what its documents meet, is at fault, and the others
    go on. A row of several stops the partitions: no workspace explains it. Either ends with a success, whoever's.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_a_row: Counter[bytes] = Counter()
        """By workspace, without those that are stopped."""
        self._stopped: dict[bytes, None] = {}

    def check(self, workspace: bytes) -> None:
        """Raise WorkspaceStopped if nothing of `workspace` (as headers have it) is to be handled any more."""
        if workspace in self._stopped:
            raise WorkspaceStopped(_name(workspace))

    def dead(self, workspace: bytes) -> None:
        """Count a dead letter. Raises WorkspaceStopped or CeilingReached beyond the limit."""
        self.check(workspace)
        self._in_a_row[workspace] += 1
        if self._in_a_row[workspace] > self._limit:
            # What it had in a row must not stop the others with their next one.
            del self._in_a_row[workspace]
            self._stopped[workspace] = None
            raise WorkspaceStopped(_name(workspace))
        total = self._in_a_row.total()
        if total - max(self._in_a_row.values()) > self._limit:
            raise CeilingReached(f"{total} records in a row, of several workspaces, would be dead letters")

    def done(self) -> None:
        """Count a success."""
        self._in_a_row.clear()

    def faults(self) -> list[str]:
        """Return which workspaces are stopped, in words. For readiness."""
        return [
            f"{_name(workspace)} stopped: more than {self._limit} of its records in a row would be dead letters"
            for workspace in self._stopped
        ]


def _name(workspace: bytes) -> str:
    # A header that names none is one kind of poison.
    return f"workspace {workspace.decode(errors='replace')}" if workspace else "what names no workspace"
