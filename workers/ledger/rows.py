"""Turns events into rows of the ledger's tables. No I/O: what is written is decided here and in the SQL of `store`."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from infra.kafka.worker import Delivery
from infra.postgres.columns import array_text, json_text, storable
from schemas.dead_letters import DeadLetter, LetterMark
from schemas.documents import DocumentVersion
from schemas.event import now
from schemas.raw import RawEvent
from schemas.receipts import Receipt

NORMALIZER = "normalizer"
LEDGER = "ledger"
"""The sink that holds each document's text for reading: table `documents`."""


class EventRow(NamedTuple):
    """An accepted event, as `raw.events` tells it."""

    event_id: UUID
    workspace: str
    source: str
    connector: str
    delivery: str
    subject: str
    operation: str
    accepted_at: datetime
    raw_partition: int
    raw_offset: int


class NormalisedRow(NamedTuple):
    """What the normalizer made of an event."""

    event_id: UUID
    workspace: str
    source: str
    outcome: str
    documents: str
    """An array literal of Postgres, as is `superseded`."""
    superseded: str
    normalised_at: datetime
    detail: str


class ReceiptRow(NamedTuple):
    """What a sink did with a document version."""

    event_id: UUID
    document_id: UUID
    sink: str
    workspace: str
    source: str
    version: int
    operation: str
    outcome: str
    parts: int
    at: datetime


class ConversationReceiptRow(NamedTuple):
    """What a sink did about the deletion of a conversation."""

    event_id: UUID
    conversation_id: UUID
    sink: str
    workspace: str
    version: int
    operation: str
    outcome: str
    parts: int
    at: datetime


class DocumentRow(NamedTuple):
    """The present state of a document; of a deleted one nothing is kept but that it was there."""

    document_id: UUID
    workspace: str
    source: str
    connector: str
    external_id: str
    event_id: UUID
    version: int
    deleted: bool
    kind: str
    title: str
    url: str
    language: str
    text: str
    chunks: int
    left_out: int
    authors: str
    metadata: str
    created_at: datetime | None
    updated_at: datetime | None
    received_at: datetime


class LetterRow(NamedTuple):
    """A dead letter without the record in it, which stays in `dead.letters` at the letter's own coordinates."""

    letter_id: UUID
    workspace: str
    event_id: UUID | None
    source: str
    reason: str
    detail: str
    worker: str
    attempts: int
    topic: str
    partition: int
    offset: int
    letter_partition: int
    letter_offset: int
    first_at: datetime
    last_at: datetime


class MarkRow(NamedTuple):
    """What was done with a dead letter."""

    mark_id: UUID
    letter_id: UUID
    workspace: str
    state: str
    letter_partition: int
    letter_offset: int
    by: str
    at: datetime


def event_row(delivery: Delivery[RawEvent]) -> EventRow:
    """Return the row of an accepted event."""
    event = delivery.body
    return EventRow(
        event.event_id,
        event.workspace,
        storable(event.source),
        storable(event.connector),
        storable(event.delivery),
        storable(event.subject),
        event.operation,
        event.received_at,
        delivery.origin.partition,
        delivery.origin.offset,
    )


def normalised_row(receipt: Receipt) -> NormalisedRow | None:
    """Return what the normalizer says of an event; None for other sinks and for `duplicate`, which says nothing new."""
    if receipt.sink != NORMALIZER or receipt.outcome == "duplicate":
        return None
    return NormalisedRow(
        receipt.event_id,
        receipt.workspace,
        storable(receipt.source),
        "not_a_document" if receipt.outcome == "not_a_document" else "documents",
        array_text(receipt.documents),
        array_text(receipt.superseded),
        receipt.at,
        storable(receipt.detail),
    )


def receipt_row(receipt: Receipt) -> ReceiptRow | None:
    """Return the row of a sink's receipt; None for one that speaks of anything but a document version."""
    if receipt.about != "document":
        return None
    if receipt.document_id is None or receipt.version is None or receipt.operation is None:
        return None
    return ReceiptRow(
        receipt.event_id,
        receipt.document_id,
        storable(receipt.sink),
        receipt.workspace,
        storable(receipt.source),
        receipt.version,
        receipt.operation,
        receipt.outcome,
        receipt.parts,
        receipt.at,
    )


def conversation_receipt_row(receipt: Receipt) -> ConversationReceiptRow | None:
    """Return the row of a receipt that speaks of a conversation; None for any other."""
    if receipt.about != "conversation":
        return None
    if receipt.document_id is None or receipt.version is None or receipt.operation is None:
        return None
    return ConversationReceiptRow(
        receipt.event_id,
        receipt.document_id,
        storable(receipt.sink),
        receipt.workspace,
        receipt.version,
        receipt.operation,
        receipt.outcome,
        receipt.parts,
        receipt.at,
    )


def document_row(version: DocumentVersion) -> DocumentRow:
    """Return the row of a document version; a deletion clears all that the source said of it."""
    deleted = version.operation == "delete"
    return DocumentRow(
        version.document_id,
        version.workspace,
        storable(version.source),
        storable(version.connector),
        storable(version.external_id),
        version.event_id,
        version.version,
        deleted,
        storable(version.kind),
        "" if deleted else storable(version.title),
        "" if deleted else storable(version.url),
        "" if deleted else storable(version.language),
        "" if deleted else storable(version.text),
        len(version.chunks),
        version.left_out,
        json_text([] if deleted else [author.model_dump() for author in version.authors]),
        json_text({} if deleted else dict(version.metadata)),
        version.created_at,
        version.updated_at,
        version.received_at,
    )


def letter_row(delivery: Delivery[DeadLetter]) -> LetterRow:
    """Return the row of a dead letter."""
    letter = delivery.body
    return LetterRow(
        letter.letter_id,
        letter.workspace,
        letter.event_id,
        storable(letter.source),
        letter.reason,
        storable(letter.detail),
        storable(letter.worker),
        letter.attempts,
        storable(letter.topic),
        letter.partition,
        letter.offset,
        delivery.origin.partition,
        delivery.origin.offset,
        letter.first_at,
        letter.last_at,
    )


def mark_row(mark: LetterMark) -> MarkRow:
    """Return the row of a mark."""
    return MarkRow(
        mark.mark_id,
        mark.letter_id,
        mark.workspace,
        mark.state,
        mark.letter_partition,
        mark.letter_offset,
        storable(mark.by),
        mark.at,
    )


def deletion_receipt(version: DocumentVersion) -> Receipt:
    """Return the ledger's own proof that the text of a deleted document is no longer in its table."""
    return Receipt(
        workspace=version.workspace,
        sink=LEDGER,
        event_id=version.event_id,
        source=version.source,
        outcome="applied",
        document_id=version.document_id,
        version=version.version,
        operation=version.operation,
        at=now(),
    )


def present(rows: Iterable[Any]) -> list[Any]:
    """Return `rows` without None."""
    return [row for row in rows if row is not None]
