"""Fuses the dense and the sparse list by score."""

from collections.abc import Container, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A point with its fused score, 0 to about 1.1, and its cosine, 0 where only the sparse list held it."""

    point: str
    score: float
    cosine: float


def fuse(
    dense: Mapping[str, float],
    sparse: Mapping[str, float],
    *,
    limit: int,
    by_named_author: Container[str] = (),
    dense_weight: float = 0.5,
    author_bonus: float = 0.1,
) -> list[Candidate]:
    """Return the union of both lists (point id to score), best first.

    score = w * dense / max(dense) + (1 - w) * sparse / max(sparse) + bonus where the author is named. A point missing
    from a list that holds `limit` points gets the lowest score of that list: it scored at most that, and was cut off.
    One missing from a shorter list has nothing of what the list asks for, and gets 0: with a floor there a list of one
    hit would say the same of all points, and a word that stands in one document would find any (decision 0005).
    """
    dense_shares, dense_floor = _shares(dense, limit)
    sparse_shares, sparse_floor = _shares(sparse, limit)
    candidates = [
        Candidate(
            point,
            dense_weight * dense_shares.get(point, dense_floor)
            + (1 - dense_weight) * sparse_shares.get(point, sparse_floor)
            + (author_bonus if point in by_named_author else 0.0),
            dense.get(point, 0.0),
        )
        for point in dense.keys() | sparse.keys()
    ]
    # Of equals the one that holds the words; at last the id, so that a question gives the same order in every process.
    return sorted(
        candidates,
        key=lambda candidate: (
            -candidate.score,
            -sparse_shares.get(candidate.point, 0.0),
            -candidate.cosine,
            candidate.point,
        ),
    )


def _shares(scores: Mapping[str, float], limit: int) -> tuple[dict[str, float], float]:
    """Return each score divided by the greatest, and what a missing one counts. An empty list says nothing: 0 for all.

    A list of `limit` points was cut, and its lowest is the most that a missing one can have.
    """
    best = max(scores.values(), default=0.0)
    if best <= 0:
        # A negative maximum would turn the order round; a list of cosines below 0 holds nothing alike.
        return dict.fromkeys(scores, 0.0), 0.0
    shares = {point: max(0.0, score) / best for point, score in scores.items()}
    return shares, min(shares.values()) if len(scores) >= limit else 0.0
