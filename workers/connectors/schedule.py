"""Decides when a source is pulled next."""

from datetime import timedelta

DEFAULT_INTERVAL_S = 900
"""A quarter of an hour: what feed readers commonly do."""
MIN_INTERVAL_S = 5
MAX_INTERVAL_S = 7 * 24 * 3600
MAX_BACKOFF_S = 6 * 3600
SPREAD = 0.1
"""Share of the wait by which it varies, so that sources registered together part."""


def interval_of(config: object) -> float:
    """Return the seconds between pulls that a source's configuration asks for (`interval_s`), within bounds."""
    asked = config.get("interval_s") if isinstance(config, dict) else None
    if isinstance(asked, bool) or not isinstance(asked, int | float):
        return DEFAULT_INTERVAL_S
    return min(max(float(asked), MIN_INTERVAL_S), MAX_INTERVAL_S)


def wait_after(interval_s: float, failures: int, chance: float, retry_after: float | None = None) -> timedelta:
    """Return the wait before the next pull.

    `failures` in a row double it up to six hours (or the interval, if that is longer); a server's own wish counts if
    it is longer, up to a week. `chance` in 0..1 spreads it by a tenth up or down.
    """
    seconds = interval_s * 2 ** min(failures, 20)
    if failures:
        seconds = min(seconds, max(MAX_BACKOFF_S, interval_s))
    seconds *= 1 + SPREAD * (2 * chance - 1)
    if retry_after is not None:
        seconds = max(seconds, min(retry_after, MAX_INTERVAL_S))
    return timedelta(seconds=seconds)
