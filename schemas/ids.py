"""Deterministic identifiers: the same input gives the same id, on any machine, on any replay.

Every id is an RFC 9562 version 5 UUID under one namespace. Parts are joined with a unit separator, which no part may
hold, so that ("a", "bc") and ("ab", "c") cannot meet.
"""

import unicodedata
from hashlib import sha1
from uuid import UUID

NAMESPACE = UUID("6d2b7d0c-5c0e-5b43-9f2c-0f6c3f0a7c11")
_SEPARATOR = "\x1f"
_NAMESPACE_BYTES = NAMESPACE.bytes
_FREE_BITS = ~((0xF << 76) | (0x3 << 62))
"""All but the version (4 bits) and the variant (2 bits) of a UUID: RFC 9562, section 5.5."""
_VERSION_5 = (5 << 76) | (0x2 << 62)
_DIGITS = 32
"""Hexadecimal digits of a UUID."""


def deterministic_id(kind: str, *parts: str) -> UUID:
    """Return the id of `kind` made of `parts`. Raises ValueError if a part holds the separator U+001F."""
    name = _SEPARATOR.join((kind, *parts))
    if name.count(_SEPARATOR) != len(parts):
        raise ValueError("an id part must not hold U+001F")
    # As uuid.uuid5 computes it, in a third of its time: an id is made for every event that is published.
    digest = sha1(_NAMESPACE_BYTES + name.encode(), usedforsecurity=False).digest()
    return UUID(int=int.from_bytes(digest[:16], "big") & _FREE_BITS | _VERSION_5)


def parse_id(text: str) -> UUID:
    """Return `UUID(text)`; its usual forms, of 32 digits beside any hyphens, in half the time. Raises ValueError."""
    digits = text.replace("-", "")
    if len(digits) == _DIGITS:
        return UUID(int=int(digits, 16))
    return UUID(text)


def event_id(workspace: str, source: str, delivery: str) -> UUID:
    """Id of an accepted event: a sender's redelivery of `delivery` has the same id."""
    return deterministic_id("event", workspace, source, delivery)


def document_id(workspace: str, source: str, external_id: str) -> UUID:
    """Id of a document: `external_id` is the source's own stable name for it."""
    return deterministic_id("document", workspace, source, external_id)


def name_of(external_id: str) -> str:
    """Return an external id as it identifies: in NFC and without blanks around it.

    A name that one system spells with combining characters (macOS) and another composed is one name. Door and
    normalizer both call this before they make a document's id, which is therefore the same.
    """
    return unicodedata.normalize("NFC", external_id).strip()


def point_id(workspace: str, document: UUID, part: str) -> UUID:
    """Id of one vector point of a document; `part` is a chunk ordinal or `head`."""
    return deterministic_id("point", workspace, str(document), part)


def derived_event_id(cause: UUID, worker: str, topic: str, part: str) -> UUID:
    """Id of an event that `worker` publishes because of `cause`: redelivery of the cause gives the same id."""
    return deterministic_id("derived", str(cause), worker, topic, part)
