"""Headers of an event: the CloudEvents Kafka binding (binary mode), W3C trace context, and our own four.

`workspace`, `cause` (the event that led to this one), `schema` (`name/version`) and `origin` (where a redriven record
first stood, `topic:partition:offset`) are ours; `ce_*` follow CloudEvents 1.0 and its Kafka protocol binding 1.0.2.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple, NoReturn
from uuid import UUID

from schemas.event import WORKSPACE_PATTERN
from schemas.ids import parse_id

JSON = "application/json"
SPEC_VERSION = "1.0"

_ALWAYS = (("ce_specversion", SPEC_VERSION.encode()), ("content-type", JSON.encode()))
_TRACE = ("traceparent", "tracestate")
UNTRACED: Mapping[str, str] = MappingProxyType({})
"""The trace of an event that belongs to none."""


class EnvelopeError(ValueError):
    """The headers are not those of an event: one is missing, null, not UTF-8 or malformed. Names the header."""


class Origin(NamedTuple):
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


class Envelope(NamedTuple):
    """Who sent what, when, in which workspace, and because of which event.

    A tuple, as are the other values made for each record: a frozen dataclass of this size takes five times as long to
    make, and two are made per event and stage.
    """

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
    trace: Mapping[str, str] = UNTRACED
    """W3C `traceparent` and `tracestate`, as received or to be sent."""

    def headers(self) -> list[tuple[str, bytes]]:
        """Return the record headers, UTF-8; what is empty is left out."""
        identity, kind, source, time, workspace, schema, subject, cause, origin, trace = self
        headers = [*_alike(kind, source, workspace, schema), ("ce_id", str(identity).encode()), _time_header(time)]
        if subject:
            headers.append(("ce_subject", subject.encode()))
        if cause:
            headers.append(("cause", str(cause).encode()))
        if origin:
            headers.append(("origin", str(origin).encode()))
        if trace:
            headers += [(name, value.encode()) for name, value in trace.items() if value]
        return headers

    @classmethod
    def from_headers(cls, headers: Iterable[tuple[str, bytes | None]]) -> "Envelope":
        """Read an envelope. Unknown headers are ignored, the last of a repeated header counts. Raises EnvelopeError."""
        texts: dict[str, str] = {}
        name = ""
        try:
            for name, value in headers:
                if value is None:
                    raise EnvelopeError(f"header {name[:80]!r} is null")
                texts[name] = value.decode()
        except UnicodeDecodeError as error:
            raise EnvelopeError(f"header {name[:80]!r} is not UTF-8") from error
        get = texts.get
        workspace = get("workspace") or _missing("workspace")
        if not WORKSPACE_PATTERN.fullmatch(workspace):
            raise EnvelopeError("header workspace is not a workspace name")
        cause, origin = get("cause"), get("origin")
        return cls(
            _uuid(get("ce_id") or _missing("ce_id"), "ce_id"),
            get("ce_type") or _missing("ce_type"),
            get("ce_source") or _missing("ce_source"),
            _time(get("ce_time") or _missing("ce_time")),
            workspace,
            get("schema") or _missing("schema"),
            get("ce_subject", ""),
            _uuid(cause, "cause") if cause else None,
            Origin.parse(origin) if origin else None,
            _trace(texts),
        )


@lru_cache(maxsize=1_024)
def _alike(kind: str, source: str, workspace: str, schema: str) -> tuple[tuple[str, bytes], ...]:
    """Return the headers that are the same for most events of one source."""
    texts = {"ce_type": kind, "ce_source": source, "workspace": workspace, "schema": schema}
    return (*_ALWAYS, *((name, text.encode()) for name, text in texts.items() if text))


def _time_header(time: datetime) -> tuple[str, bytes]:
    # Equal times may be written differently, except in UTC: only those can be kept.
    return _utc_header(time) if time.tzinfo is UTC else ("ce_time", time.isoformat().encode())


@lru_cache(maxsize=64)
def _utc_header(time: datetime) -> tuple[str, bytes]:
    """Return the header of a time that a whole batch has."""
    return "ce_time", time.isoformat().encode()


def _missing(name: str) -> NoReturn:
    raise EnvelopeError(f"header {name} is missing")


def _uuid(text: str, name: str) -> UUID:
    try:
        return parse_id(text)
    except ValueError as error:
        raise EnvelopeError(f"header {name} is not a UUID: {text[:80]!r}") from error


def _trace(texts: dict[str, str]) -> Mapping[str, str]:
    if "traceparent" in texts or "tracestate" in texts:
        return {name: texts[name] for name in _TRACE if name in texts}
    return UNTRACED


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise EnvelopeError(f"header ce_time is not RFC 3339: {text[:80]!r}") from error
    if time.tzinfo is None:
        raise EnvelopeError(f"header ce_time has no zone: {text!r}")
    return time
