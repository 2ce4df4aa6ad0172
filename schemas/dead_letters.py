"""What could not be processed, whole, with the reason."""

from enum import StrEnum
from typing import ClassVar, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from schemas.event import Event, Timestamp, Value

UNKNOWN_WORKSPACE = "unattributed"
"""Workspace of a dead letter whose own headers name none. No key can belong to it, so only operators read it."""


class Reason(StrEnum):
    """Why a record is dead. Closed: a new reason is a new schema version of the dead letter."""

    INVALID_HEADERS = "invalid_headers"
    INVALID_JSON = "invalid_json"
    SCHEMA_UNKNOWN = "schema_unknown"
    SCHEMA_UNSUPPORTED = "schema_unsupported"
    SCHEMA_VIOLATION = "schema_violation"
    WORKSPACE_MISMATCH = "workspace_mismatch"
    NULL_BODY = "null_body"
    BODY_MISSING = "body_missing"
    OVERSIZE = "oversize"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    UNREADABLE_DOCUMENT = "unreadable_document"
    ENCRYPTED_DOCUMENT = "encrypted_document"
    EXPANSION_LIMIT = "expansion_limit"
    PARSER_TIMEOUT = "parser_timeout"
    PARSER_CRASH = "parser_crash"
    UNKNOWN_CONNECTOR = "unknown_connector"
    INVALID_VECTOR = "invalid_vector"
    REFUSED_BY_SINK = "refused_by_sink"
    DEADLINE_PASSED = "deadline_passed"
    HANDLER_ERROR = "handler_error"


class Header(Value):
    """A record header as it came: the value may be null or any bytes."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    name: str
    value: bytes | None


class DeadLetter(Event):
    """A record that a worker gave up on: original bytes, headers, coordinates, reason."""

    schema_name: ClassVar[str] = "dead.letter"

    letter_id: UUID
    """Deterministic in worker and coordinates: the same record dies once, also redelivered or redriven."""
    event_id: UUID | None
    """The accepted event behind the record where its headers tell, else None."""
    source: str = ""
    """Id of the registered source where the record's body tells it, else empty. Letters of earlier releases hold the
    record's `ce_source` instead."""
    reason: Reason
    detail: str = Field(max_length=2_000)
    worker: str
    worker_version: str
    attempts: int = Field(ge=1)
    """All tries so far, those before a redrive included."""
    first_at: Timestamp
    last_at: Timestamp
    topic: str
    partition: int
    offset: int
    """Where the record stands; of a redriven one, where it first stood."""
    timestamp: Timestamp
    """The broker's time of the original record."""
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]

    @property
    def weight(self) -> int:
        """Rough size in bytes."""
        return len(self.value or b"")


class LetterMark(Event):
    """What an operator did with a dead letter. The letter itself stays as it is.

    It speaks of the letter at these coordinates of the dead letters' topic: a record that has died again since has a
    newer letter, which stays open.
    """

    schema_name: ClassVar[str] = "letter.mark"

    mark_id: UUID
    letter_id: UUID
    state: Literal["redriven", "discarded"]
    letter_partition: int = Field(ge=0)
    letter_offset: int = Field(ge=0)
    by: str = Field(max_length=200)
    """Who did it: the id of an API key, or the operator's user name."""
    at: Timestamp
