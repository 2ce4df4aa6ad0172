"""From a failed record to its dead letter."""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any
from uuid import UUID

from infra.kafka.codec import Record, origin_of
from schemas.dead_letters import UNKNOWN_WORKSPACE, DeadLetter, Header, Reason
from schemas.envelope import Envelope, EnvelopeError, Origin
from schemas.event import WORKSPACE_PATTERN, now
from schemas.ids import deterministic_id
from topics.catalogue import Topic

MAX_DETAIL = 2_000
ORIGIN = "origin"
ATTEMPTS = "attempts"
"""Header of a redriven record: how often it was tried before. The letter of its next death counts on from there, and a
redelivery of that record gives the same number."""
MAX_ATTEMPTS = 2**31 - 1
"""The ledger's column is a 32-bit integer."""

OF_THE_RECORD = frozenset(
    {
        Reason.INVALID_HEADERS,
        Reason.INVALID_JSON,
        Reason.SCHEMA_UNKNOWN,
        Reason.SCHEMA_VIOLATION,
        Reason.WORKSPACE_MISMATCH,
        Reason.NULL_BODY,
    }
)
"""Whoever decodes the record finds the same. Not so a schema that only an older reader does not know, nor a body that
one reader's object store cannot give: those who read on would never hear of it."""


def buried_by_another(worker: str, topic: Topic[Any], reason: Reason) -> bool:
    """Tell whether another worker writes the dead letter about a record of `topic` that `worker` cannot decode.

    It is the topic's first consumer's, so that a record which nobody can read has one letter and not one per reader.
    """
    return reason in OF_THE_RECORD and bool(topic.consumers) and topic.consumers[0] != worker


def letter_for(
    record: Record,
    *,
    worker: str,
    reason: Reason,
    detail: str,
    attempts: int,
    first_at: datetime,
    root: UUID | None,
    source: str = "",
) -> DeadLetter:
    """Return the dead letter of `record`: original bytes, headers and coordinates.

    `root` is the accepted event behind the record and `source` the id of its source, where the body told them; else its
    own event id counts, and no source. A redriven record has the letter of its origin again, with the attempts of all
    its lives.
    """
    envelope = _readable(record)
    origin = first_place(record)
    workspace = envelope.workspace if envelope else _workspace(record)
    return DeadLetter(
        workspace=workspace,
        letter_id=deterministic_id("letter", worker, origin.topic, str(origin.partition), str(origin.offset)),
        event_id=root or (envelope.id if envelope else None),
        source=source,
        reason=reason,
        detail=detail[:MAX_DETAIL],
        worker=worker,
        worker_version=version("millrace"),
        attempts=min(_earlier_attempts(record) + attempts, MAX_ATTEMPTS),
        first_at=first_at,
        last_at=now(),
        topic=origin.topic,
        partition=origin.partition,
        offset=origin.offset,
        timestamp=datetime.fromtimestamp(max(record.timestamp, 0) / 1_000, UTC),
        key=record.key,
        value=record.value,
        headers=tuple(Header(name=name, value=value) for name, value in record.headers),
    )


def first_place(record: Record) -> Origin:
    """Return where `record` first stood in its topic: its readable `origin` header, else its own coordinates.

    Read apart from the envelope: a record whose other headers are broken is redriven too, and must keep its letter.
    """
    told = _text(record, ORIGIN)
    try:
        origin = Origin.parse(told) if told else origin_of(record)
    except EnvelopeError:
        return origin_of(record)
    return origin if origin.topic == record.topic else origin_of(record)


def _earlier_attempts(record: Record) -> int:
    told = _text(record, ATTEMPTS)
    return min(int(told), MAX_ATTEMPTS) if told.isascii() and told.isdigit() and len(told) <= 10 else 0  # noqa: PLR2004


def _text(record: Record, wanted: str) -> str:
    """Return the last value of header `wanted`, empty if there is none; bytes that are no UTF-8 are replaced."""
    found = ""
    for name, value in record.headers:
        if name == wanted:
            found = (value or b"").decode(errors="replace")
    return found


def _readable(record: Record) -> Envelope | None:
    try:
        return Envelope.from_headers(record.headers)
    except EnvelopeError:
        return None


def _workspace(record: Record) -> str:
    """Return the workspace named in a broken record's headers, so that its own operators can see the letter."""
    text = _text(record, "workspace")
    return text if WORKSPACE_PATTERN.fullmatch(text) else UNKNOWN_WORKSPACE
