"""Proof that a sink has handled a document version or a conversation, or that an event was no document."""

from typing import Any, ClassVar, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from schemas.documents import Operation
from schemas.event import Event, Timestamp, Version

Outcome = Literal["applied", "stale", "duplicate", "not_a_document"]
"""`applied`: the sink holds this version. `stale`: it already held a newer one. `duplicate`: the event was seen before.
`not_a_document`: the event says nothing that is kept as a document (normalizer only)."""

About = Literal["event", "document", "conversation"]
"""What a receipt speaks of. `event`: what the normalizer made of an accepted event; `document_id` is None. `document`:
one version of a document. `conversation`: a deletion of one, whose id stands in `document_id`. Whoever reads receipts
asks for the kind: a conversation is no document that an index or the graph could hold."""


class Receipt(Event):
    """What one sink did with one (document, version, operation), or the normalizer with one event."""

    schema_name: ClassVar[str] = "receipt"

    sink: str
    """`normalizer`, `embedder/<index id>`, `graph_builder`, `ledger`, `archivist` or `answer_cache`."""
    about: About = "document"
    """Receipts written before this field existed are told apart by what they hold (`_declare`)."""
    event_id: UUID
    """The accepted event behind it."""
    source: str
    outcome: Outcome
    document_id: UUID | None = None
    """Id of what it speaks of; None on the normalizer's own receipt, which speaks of the event."""
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

    @model_validator(mode="before")
    @classmethod
    def _declare(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("about") is not None:
            return given
        of_conversation = given.get("sink") == "archivist" or (
            given.get("sink") == "answer_cache" and given.get("source") == "conversations"
        )
        unnamed = given.get("document_id") is None
        return {**given, "about": "event" if unnamed else "conversation" if of_conversation else "document"}

    @model_validator(mode="after")
    def _names_what_it_speaks_of(self) -> Self:
        if (self.about == "event") != (self.document_id is None):
            raise ValueError("a receipt names the document or conversation that it speaks of, one of an event none")
        return self
