"""The one document model that every sink reads."""

from typing import ClassVar, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from schemas.event import Event, Timestamp, Value, Version

MetadataValue = str | int | float | bool | tuple[str, ...]
Operation = Literal["upsert", "delete"]


class Author(Value):
    """A person as the source names them."""

    name: str
    handle: str = ""
    """Login or address at the source, empty if it gives none."""
    role: str = "author"


class Chunk(Value):
    """A passage of a document: `text[start:end]`, offsets in Unicode code points of the document's `text`."""

    ordinal: int = Field(ge=0)
    start: int = Field(ge=0)
    end: int = Field(gt=0)
    heading: str = ""
    """Headings above the passage, outermost first, joined with ` > `."""


class Entity(Value):
    """Something that the source names by itself: a person, a repository, an issue, a label."""

    key: str
    """Stable within the workspace, `kind:source-scheme:id`, for example `person:github:octocat`."""
    kind: str
    name: str
    aliases: tuple[str, ...] = ()
    url: str = ""
    """Its page at the source, by which links of other documents find it; empty if it has none."""


class Relation(Value):
    """A typed statement of the source: subject and object are entity keys."""

    subject: str
    predicate: str
    """Upper-case verb phrase, for example `AUTHORED`, `LABELLED`, `MENTIONS`, `PART_OF`."""
    object: str


class DocumentVersion(Event):
    """One version of one document with its chunks, or its deletion.

    Key of topic `documents`: workspace/document_id. The highest version is the document's present state.
    """

    schema_name: ClassVar[str] = "document.version"

    document_id: UUID
    event_id: UUID
    """The accepted event that led to this version."""
    source: str
    connector: str
    external_id: str
    operation: Operation
    version: Version
    kind: str = "document"
    """What it is in the source's words: issue, pull_request, comment, file, entry, commit, release."""
    title: str = ""
    language: str = ""
    """ISO 639-1, empty if the text is too short to tell."""
    text: str = ""
    authors: tuple[Author, ...] = ()
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    received_at: Timestamp
    url: str = ""
    links: tuple[str, ...] = ()
    metadata: dict[str, MetadataValue] = Field(default_factory=dict)
    chunks: tuple[Chunk, ...] = ()
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    parents: tuple[str, ...] = ()
    """External ids, in the same source, of everything that it stands in, outermost first: what is removed takes along
    what stands in it."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.operation == "delete" and (self.text or self.chunks):
            raise ValueError("a deletion has no text and no chunks")
        for position, chunk in enumerate(self.chunks):
            if chunk.ordinal != position:
                raise ValueError(f"chunk {position} has ordinal {chunk.ordinal}")
            if not chunk.start < chunk.end <= len(self.text):
                raise ValueError(
                    f"chunk {position} [{chunk.start}:{chunk.end}] is outside the text of {len(self.text)}"
                )
        return self

    @property
    def weight(self) -> int:
        """Rough size in bytes."""
        return len(self.text)

    def text_of(self, chunk: Chunk) -> str:
        """Return the passage that `chunk` points at."""
        return self.text[chunk.start : chunk.end]
