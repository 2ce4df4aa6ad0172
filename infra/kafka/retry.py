"""How long to wait before the next try."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Capped exponential back-off with full jitter over the upper half, in seconds.

    Jitter after M. Brooker, "Exponential Backoff And Jitter" (2015), "equal jitter": half fixed, half random, so that
    many consumers do not return to a recovering server at one moment, and none returns at once.
    """

    first_s: float = 0.2
    cap_s: float = 5.0
    factor: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.first_s <= self.cap_s or self.factor < 1:
            raise ValueError("a back-off needs 0 < first_s <= cap_s and factor >= 1")

    def delay(self, attempt: int) -> float:
        """Seconds to wait after failed attempt number `attempt` (1, 2, …)."""
        # The exponent is bounded: 2.0 ** 1100 would overflow during a long outage.
        ceiling = min(self.cap_s, self.first_s * self.factor ** min(attempt - 1, 60))
        return ceiling / 2 + random.uniform(0, ceiling / 2)  # noqa: S311 - spreads load, guards nothing
