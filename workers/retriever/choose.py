"""Decides which candidates become passages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from infra.qdrant.points import Head

OVERLAP_LIMIT = 0.5
"""Share of the shorter of two passages of one document that the longer may repeat. Neighbouring chunks share about a
tenth of their text and stay; a short tail chunk that the one before it nearly holds goes."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a candidate's chunk stands: `[start:end)` in version `version` of `document`."""

    point: str
    document: UUID
    version: int
    start: int
    end: int


def is_current(version: int, head: Head | None) -> bool:
    """Say whether a chunk of `version` belongs to the present state of its document.

    Without a head the document is being written for the first time, and its chunks are no older than it.
    """
    return head is None or (not head.deleted and version >= head.version)


def choose(spans: Sequence[Span], heads: Mapping[UUID, Head], limit: int) -> list[str]:
    """Return the points of at most `limit` passages, in the order of `spans` (best first).

    Dropped are chunks of replaced or deleted versions, and chunks that mostly repeat a better one of their document.
    """
    chosen: list[Span] = []
    for span in spans:
        if len(chosen) == limit:
            break
        if is_current(span.version, heads.get(span.document)) and not any(_repeats(span, other) for other in chosen):
            chosen.append(span)
    return [span.point for span in chosen]


def choose_grouped(spans: Sequence[Span], heads: Mapping[UUID, Head], limit: int, size: int) -> list[str]:
    """Return the points of the best `size` passages of each of at most `limit` documents.

    Documents stand in the order of their best passage, the passages of one together. Dropped is what `choose` drops.
    """
    groups: dict[UUID, list[Span]] = {}
    for span in spans:
        group = groups.get(span.document, [])
        if len(group) == size or (not group and len(groups) == limit):
            continue
        if is_current(span.version, heads.get(span.document)) and not any(_repeats(span, other) for other in group):
            groups.setdefault(span.document, group).append(span)
    return [span.point for group in groups.values() for span in group]


def _repeats(span: Span, other: Span) -> bool:
    if span.document != other.document:
        return False
    shared = min(span.end, other.end) - max(span.start, other.start)
    return shared > OVERLAP_LIMIT * min(span.end - span.start, other.end - other.start)
