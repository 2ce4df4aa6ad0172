"""Deterministic identifiers: the same input gives the same id, on any machine, on any replay.

Every id is an RFC 9562 version 5 UUID under one namespace. Parts are joined with a unit separator, which no part may
hold, so that ("a", "bc") and ("ab", "c") cannot meet.
"""

from uuid import UUID, uuid5

NAMESPACE = UUID("6d2b7d0c-5c0e-5b43-9f2c-0f6c3f0a7c11")
_SEPARATOR = "\x1f"


def deterministic_id(kind: str, *parts: str) -> UUID:
    """Return the id of `kind` made of `parts`. Raises ValueError if a part holds the separator U+001F."""
    if any(_SEPARATOR in part for part in (kind, *parts)):
        raise ValueError("an id part must not hold U+001F")
    return uuid5(NAMESPACE, _SEPARATOR.join((kind, *parts)))


def event_id(workspace: str, source: str, delivery: str) -> UUID:
    """Id of an accepted event: a sender's redelivery of `delivery` has the same id."""
    return deterministic_id("event", workspace, source, delivery)


def document_id(workspace: str, source: str, external_id: str) -> UUID:
    """Id of a document: `external_id` is the source's own stable name for it."""
    return deterministic_id("document", workspace, source, external_id)


def point_id(workspace: str, document: UUID, part: str) -> UUID:
    """Id of one vector point of a document; `part` is a chunk ordinal or `head`."""
    return deterministic_id("point", workspace, str(document), part)


def derived_event_id(cause: UUID, worker: str, topic: str, part: str) -> UUID:
    """Id of an event that `worker` publishes because of `cause`: redelivery of the cause gives the same id."""
    return deterministic_id("derived", str(cause), worker, topic, part)
