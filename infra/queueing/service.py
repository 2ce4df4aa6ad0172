"""How long an answer takes."""

_SMOOTHING = 0.1
"""Share of the newest answer in the mean: about the last twenty count."""


class Service:
    """Exponentially weighted mean of service times. The first ones count as much as there are of them: no guess that
    stood there before any was measured is left in it (the bias correction of Adam: Kingma, Ba, ICLR 2015, section 3).
    """

    def __init__(self) -> None:
        self._sum = 0.0
        self._weight = 0.0

    @property
    def mean_s(self) -> float | None:
        """Seconds; None before anything was measured."""
        return self._sum / self._weight if self._weight else None

    def took(self, seconds: float) -> None:
        """Count an answer."""
        self._sum += _SMOOTHING * (seconds - self._sum)
        self._weight += _SMOOTHING * (1 - self._weight)
