"""From a failed record to its dead letter."""

from datetime import UTC, datetime
from importlib.metadata import version
from uuid import UUID

from infra.kafka.codec import Record
from schemas.dead_letters import UNKNOWN_WORKSPACE, DeadLetter, Header, Reason
from schemas.envelope import Envelope, EnvelopeError
from schemas.event import WORKSPACE_PATTERN, now
from schemas.ids import deterministic_id

MAX_DETAIL = 2_000


def letter_for(
    record: Record, *, worker: str, reason: Reason, detail: str, attempts: int, first_at: datetime, root: UUID | None
) -> DeadLetter:
    """Return the dead letter of `record`: original bytes, headers and coordinates.

    `root` is the accepted event behind the record, where the body told it; else its own event id counts.
    """
    envelope = _readable(record)
    workspace = envelope.workspace if envelope else _workspace(record)
    return DeadLetter(
        workspace=workspace,
        letter_id=deterministic_id("letter", worker, record.topic, str(record.partition), str(record.offset)),
        event_id=root or (envelope.id if envelope else None),
        source=envelope.source if envelope else "",
        reason=reason,
        detail=detail[:MAX_DETAIL],
        worker=worker,
        worker_version=version("millrace"),
        attempts=attempts,
        first_at=first_at,
        last_at=now(),
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=datetime.fromtimestamp(max(record.timestamp, 0) / 1_000, UTC),
        key=record.key,
        value=record.value,
        headers=tuple(Header(name=name, value=value) for name, value in record.headers),
    )


def _readable(record: Record) -> Envelope | None:
    try:
        return Envelope.from_headers(record.headers)
    except EnvelopeError:
        return None


def _workspace(record: Record) -> str:
    """Return the workspace named in a broken record's headers, so that its own operators can see the letter."""
    for name, value in record.headers:
        if name == "workspace" and value is not None:
            text = value.decode(errors="replace")
            return text if WORKSPACE_PATTERN.match(text) else UNKNOWN_WORKSPACE
    return UNKNOWN_WORKSPACE
