"""Headers of an event: the CloudEvents Kafka binding (binary mode), W3C trace context, and our own four.

`workspace`, `cause` (the event that led to this one), `schema` (`name/version`) and `origin` (where a redriven record
first stood, `topic:partition:offset`) are ours; `ce_*` follow CloudEvents 1.0 and its Kafka protocol binding 1.0.2.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from schemas.event import WORKSPACE_PATTERN

JSON = "application/json"
SPEC_VERSION = "1.0"


class EnvelopeError(ValueError):
    """The headers are not those of an event: one is missing, null, not UTF-8 or malformed. Names the header."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Coordinates of a record in a topic; `origin` of a redriven record is where it was first accepted."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "Origin":
        """Parse `topic:partition:offset`. Raises EnvelopeError."""
        topic, _, rest = text.partition(":")
        partition, _, offset = rest.partition(":")
        if not topic or not all(number.isascii() and number.isdigit() for number in (partition, offset)):
            raise EnvelopeError(f"header origin is not topic:partition:offset: {text[:80]!r}")
        return cls(topic, int(partition), int(offset))


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sent what, when, in which workspace, and because of which event."""

    id: UUID
    type: str
    source: str
    time: datetime
    workspace: str
    schema: str
    """`name/version` of the body's schema."""
    subject: str = ""
    cause: UUID | None = None
    origin: Origin | None = None
    trace: dict[str, str] = field(default_factory=dict)
    """W3C `traceparent` and `tracestate`, as received or to be sent."""

    def headers(self) -> list[tuple[str, bytes]]:
        """Return the record headers, UTF-8."""
        pairs = {
            "ce_specversion": SPEC_VERSION,
            "ce_id": str(self.id),
            "ce_type": self.type,
            "ce_source": self.source,
            "ce_time": self.time.isoformat(),
            "ce_subject": self.subject,
            "content-type": JSON,
            "workspace": self.workspace,
            "schema": self.schema,
            "cause": str(self.cause) if self.cause else "",
            "origin": str(self.origin) if self.origin else "",
            **self.trace,
        }
        return [(name, value.encode()) for name, value in pairs.items() if value]

    @classmethod
    def from_headers(cls, headers: Iterable[tuple[str, bytes | None]]) -> "Envelope":
        """Read an envelope. Unknown headers are ignored, the last of a repeated header counts. Raises EnvelopeError."""
        texts: dict[str, str] = {}
        for name, value in headers:
            if value is None:
                raise EnvelopeError(f"header {name[:80]!r} is null")
            try:
                texts[name] = value.decode()
            except UnicodeDecodeError as error:
                raise EnvelopeError(f"header {name[:80]!r} is not UTF-8") from error
        workspace = _required(texts, "workspace")
        if not WORKSPACE_PATTERN.fullmatch(workspace):
            raise EnvelopeError("header workspace is not a workspace name")
        return cls(
            id=_uuid(_required(texts, "ce_id"), "ce_id"),
            type=_required(texts, "ce_type"),
            source=_required(texts, "ce_source"),
            time=_time(_required(texts, "ce_time")),
            workspace=workspace,
            schema=_required(texts, "schema"),
            subject=texts.get("ce_subject", ""),
            cause=_uuid(texts["cause"], "cause") if texts.get("cause") else None,
            origin=Origin.parse(texts["origin"]) if texts.get("origin") else None,
            trace={name: texts[name] for name in ("traceparent", "tracestate") if name in texts},
        )


def _required(texts: dict[str, str], name: str) -> str:
    if not texts.get(name):
        raise EnvelopeError(f"header {name} is missing")
    return texts[name]


def _uuid(text: str, name: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise EnvelopeError(f"header {name} is not a UUID: {text[:80]!r}") from error


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise EnvelopeError(f"header ce_time is not RFC 3339: {text[:80]!r}") from error
    if time.tzinfo is None:
        raise EnvelopeError(f"header ce_time has no zone: {text!r}")
    return time
