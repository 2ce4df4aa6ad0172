"""The two ways in which outside systems fail, decided once, in the adapter that knows the vendor's errors.

A worker never catches a vendor's exception: it sees `Transient` (the dependency will come back: the runtime waits and
tries again, for as long as it takes) or `Permanent` (this record will never pass: the runtime dead-letters it).
"""

from schemas.dead_letters import Reason


class Transient(Exception):  # noqa: N818 - reads as the outcome that it is
    """A dependency is down, slow or asks to wait. `dependency` names it for logs, metrics and readiness."""

    def __init__(self, dependency: str, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{dependency}: {detail}")
        self.dependency = dependency
        self.detail = detail
        self.retry_after = retry_after
        """Seconds that the dependency asked to wait, if it did."""


class Permanent(Exception):  # noqa: N818 - reads as the outcome that it is
    """This record can never be processed, whatever is up. `detail` is shown to operators: no secrets, no content."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
