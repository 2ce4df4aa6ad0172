"""Decides, from what an index holds, what is to be done with document versions."""

from collections.abc import Iterable, Mapping
from enum import Enum
from uuid import UUID

from infra.qdrant.points import Head
from schemas.documents import DocumentVersion

DocumentKey = tuple[str, UUID]
"""Workspace and document id."""
Heads = Mapping[DocumentKey, Head]


class Verdict(Enum):
    """What a version is to an index that holds a head."""

    FRESH = "fresh"
    HELD = "held"
    STALE = "stale"


def key(version: DocumentVersion) -> DocumentKey:
    """Return which document this is a version of."""
    return (version.workspace, version.document_id)


def state(version: DocumentVersion) -> Head:
    """Return the head that this version leads to."""
    return Head(version.version, version.operation == "delete")


def newest(versions: Iterable[DocumentVersion]) -> list[DocumentVersion]:
    """Return the last state of each document, in order of first appearance."""
    best: dict[DocumentKey, DocumentVersion] = {}
    for version in versions:
        held = best.get(key(version))
        if held is None or _rank(state(version)) > _rank(state(held)):
            best[key(version)] = version
    return list(best.values())


def verdict(version: DocumentVersion, head: Head | None) -> Verdict:
    """Compare a version with the index's head of its document.

    HELD means that all its chunks were written: the head is written after them. At equal versions a deletion wins, so
    that an upsert and a deletion that a sender numbered alike end the same in either order.
    """
    if head is None or _rank(state(version)) > _rank(head):
        return Verdict.FRESH
    return Verdict.HELD if state(version) == head else Verdict.STALE


def newer(one: Head, other: Head) -> bool:
    """Whether the first is the newer state of a document."""
    return _rank(one) > _rank(other)


def _rank(head: Head) -> tuple[int, bool]:
    return (head.version, head.deleted)
