"""Proof that a sink has handled a document version, or that an event was no document."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field

from schemas.documents import Operation
from schemas.event import Event, Timestamp, Version

Outcome = Literal["applied", "stale", "duplicate", "not_a_document"]
"""`applied`: the sink holds this version. `stale`: it already held a newer one. `duplicate`: the event was seen before.
`not_a_document`: the event says nothing that is kept as a document (normalizer only)."""


class Receipt(Event):
    """What one sink did with one (document, version, operation), or the normalizer with one event."""

    schema_name: ClassVar[str] = "receipt"

    sink: str
    """`normalizer`, `embedder/<index id>`, `graph_builder`, `ledger` or `answer_cache`."""
    event_id: UUID
    """The accepted event behind it."""
    source: str
    outcome: Outcome
    document_id: UUID | None = None
    """None on the normalizer's own receipt, which speaks of the event."""
    version: Version | None = None
    operation: Operation | None = None
    documents: tuple[UUID, ...] = ()
    """Normalizer only: the documents that the event became, those that are left out not among them. Of the contents of
    a removed thing, which it deleted with it, at most the first thousand."""
    superseded: tuple[UUID, ...] = ()
    """Normalizer only: those left out. A newer state was published before, or this very state, or they stand in
    something that is removed: no sink will hear of it."""
    parts: int = Field(default=0, ge=0)
    """Chunks written by the embedder, relations by the graph builder."""
    detail: str = ""
    at: Timestamp
