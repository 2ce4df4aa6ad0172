"""Between events and records: headers, JSON bodies, and the claim check for large bodies.

A body over its topic's limit stands in the object store; the record has an empty body, a `ce_dataref` header with the
reference (CloudEvents "Dataref" extension, the claim check pattern), and one with its size in bytes, so that whoever
bounds memory can count it before it is fetched.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from pydantic import ValidationError

from infra.errors import Permanent
from infra.kafka.worker import Delivery
from infra.objects.store import ObjectStore
from schemas.dead_letters import Reason
from schemas.envelope import UNTRACED, Envelope, EnvelopeError, Origin
from schemas.event import Event, now
from topics.catalogue import Topic

DATAREF = "ce_dataref"
DATASIZE = "datasize"
SOURCE, OPERATION, WORKSPACE = "source", "operation", "workspace"
"""What a reader sorts records by before it decodes them; records of before these headers have `workspace` alone."""
DELETE = b"delete"
MAX_SIZE_DIGITS = 12
THREADED_BYTES = 256 * 1024
"""Bodies from this size on are encoded and decoded in a thread: 32 MiB would hold the event loop for 0.2 s."""


class Record(Protocol):
    """A fetched record, as aiokafka's `ConsumerRecord` has it: nothing decoded."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    """Milliseconds since 1970, as the broker kept it."""
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Encoded(NamedTuple):
    """A record ready to be sent."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    partition: int | None = None


def new_envelope(
    body: Event,
    *,
    id: UUID,  # noqa: A002 - the header is ce_id
    source: str,
    subject: str = "",
    cause: UUID | None = None,
    origin: Origin | None = None,
    trace: Mapping[str, str] = UNTRACED,
    time: datetime | None = None,
) -> Envelope:
    """Return the envelope of `body`: workspace and schema are taken from it, so that they cannot disagree.

    `time` is that of publishing, by default now.
    """
    kind, schema = _type_and_schema(type(body))
    return Envelope(id, kind, source, time or now(), body.workspace, schema, subject, cause, origin, trace)


@lru_cache
def _type_and_schema(body: type[Event]) -> tuple[str, str]:
    return f"millrace.{body.schema_name}", f"{body.schema_name}/{body.schema_version}"


async def encode(
    topic: Topic[Any],
    body: Event,
    envelope: Envelope,
    objects: ObjectStore,
    *,
    partition: int | None = None,
    tombstone: bool = False,
) -> Encoded:
    """Return the record of `body`; a large body is put into `objects` first. Raises Transient, TypeError."""
    if not isinstance(body, topic.body):
        raise TypeError(f"topic {topic.name} carries {topic.body.__name__}, not {type(body).__name__}")
    headers = envelope.headers() + _sorted_by(body)
    value: bytes | None = None
    if not tombstone:
        value = await asyncio.to_thread(_dumped, body) if body.weight > THREADED_BYTES else _dumped(body)
        if len(value) > topic.max_bytes:
            headers += [(DATAREF, (await objects.put(value)).encode()), (DATASIZE, b"%d" % len(value))]
            value = b""
    return Encoded(topic.name, topic.key(body).encode(), value, headers, partition)


async def decode(record: Record, topic: Topic[Any], objects: ObjectStore) -> Delivery[Any] | None:
    """Return the event in `record`, or None for a tombstone of a compacted topic.

    Raises Permanent with the reason for anything that is not a valid event of this topic, Transient if a large body
    cannot be fetched now.
    """
    if record.value is None and topic.compacted:
        return None
    envelope = _envelope(record.headers)
    _check_schema(envelope, topic)
    if record.value is None:
        raise Permanent(Reason.NULL_BODY, f"{topic.name} keeps no tombstones, but the body is null")
    value = record.value
    reference = dataref(record.headers)
    if reference:
        value = await objects.get(reference)
    body = await asyncio.to_thread(_body, value, topic) if len(value) > THREADED_BYTES else _body(value, topic)
    if body.workspace != envelope.workspace:
        raise Permanent(Reason.WORKSPACE_MISMATCH, "header and body name different workspaces")
    return Delivery(body, envelope, envelope.origin or origin_of(record), (record.key or b"").decode(errors="replace"))


def _sorted_by(body: Event) -> list[tuple[str, bytes]]:
    source, operation = getattr(body, "source", ""), getattr(body, "operation", "")
    headers = [(SOURCE, source.encode())] if source else []
    return [*headers, (OPERATION, DELETE)] if operation == "delete" else headers


def sorting(record: Record) -> tuple[bytes, bytes, bool]:
    """Return workspace and source of `record` as its headers tell them, and whether it deletes; empty if they do not.

    Nothing is decoded or checked: a record that is no event is sorted too, and finds its dead letter.
    """
    workspace, source, deletion = b"", b"", record.value is None
    for name, value in record.headers:
        if name == WORKSPACE:
            workspace = value or b""
        elif name == SOURCE:
            source = value or b""
        elif name == OPERATION:
            deletion = deletion or value == DELETE
    return workspace, source, deletion


def origin_of(record: Record) -> Origin:
    """Return the coordinates of `record`."""
    return Origin(record.topic, record.partition, record.offset)


def dataref(headers: Iterable[tuple[str, bytes | None]]) -> str:
    """Return the claim check reference among `headers`, empty if there is none."""
    for name, value in headers:
        if name == DATAREF and value is not None:
            return value.decode(errors="replace")
    return ""


def body_bytes(record: Record) -> int:
    """Return the size of the body, wherever it stands; of one in the object store what the header says, else nothing.

    A header that is no number counts as nothing too: sizes bound memory, they are no reason to refuse an event.
    """
    if record.value:
        return len(record.value)
    told = next((value for name, value in record.headers if name == DATASIZE), None)
    return int(told) if told is not None and told.isdigit() and len(told) <= MAX_SIZE_DIGITS else 0


def _dumped(body: Event) -> bytes:
    # What model_dump_json() does, less a copy into text and back.
    return body.__pydantic_serializer__.to_json(body)


def _envelope(headers: Iterable[tuple[str, bytes | None]]) -> Envelope:
    try:
        return Envelope.from_headers(headers)
    except EnvelopeError as error:
        raise Permanent(Reason.INVALID_HEADERS, str(error)) from error


def _check_schema(envelope: Envelope, topic: Topic[Any]) -> None:
    if _readable(envelope.schema, topic.body.schema_name, topic.body.schema_version):
        return
    name, _, version = envelope.schema.rpartition("/")
    if name != topic.body.schema_name:
        raise Permanent(Reason.SCHEMA_UNKNOWN, f"{topic.name} carries {topic.body.schema_name}, not {name[:80]!r}")
    if not (version.isascii() and version.isdigit()):
        raise Permanent(Reason.INVALID_HEADERS, f"schema version is not a number: {version[:20]!r}")
    if int(version) > topic.body.schema_version:
        raise Permanent(
            Reason.SCHEMA_UNSUPPORTED,
            f"{name} version {version} is newer than {topic.body.schema_version}: upgrade this worker, then redrive",
        )


@lru_cache(maxsize=256)
def _readable(schema: str, name: str, newest: int) -> bool:
    """Say whether `schema` is plainly one that this code reads; what is not is looked at again, to be named."""
    return any(schema == f"{name}/{version}" for version in range(newest + 1))


def _body(value: bytes, topic: Topic[Any]) -> Event:
    try:
        body: Event = topic.body.model_validate_json(value)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        if faults[0]["type"] == "json_invalid":
            raise Permanent(Reason.INVALID_JSON, f"the body is not JSON: {faults[0]['msg']}"[:500]) from error
        # Places and messages only: the offending input could be a secret.
        told = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults[:5])
        raise Permanent(Reason.SCHEMA_VIOLATION, told[:1_000]) from error
    return body
