"""Cutting texts into batches whose padded size is bounded."""

from collections.abc import Sequence


def by_length(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Return positions of `lengths` in batches, shortest texts first, so that little of a batch is padding.

    A batch's rows times its longest length is at most `budget` (tokens); a text longer than the budget stands alone.
    Raises ValueError if the budget is not positive.
    """
    if budget < 1:
        raise ValueError("the token budget of a batch is at least 1")
    batches: list[list[int]] = []
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[position] > budget:
            batches.append(batch)
            batch = []
        batch.append(position)
    return [*batches, batch] if batch else batches
