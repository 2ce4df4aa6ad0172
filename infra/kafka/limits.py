"""How much of a partition may be held in memory."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a partition may hold in memory before it is paused; resumed below half."""

    records: int = 1_000
    bytes: int = 16 * 1024 * 1024
    together: int | None = None
    """Bytes that all partitions of the worker may hold together before all are paused; None for no such bound."""
