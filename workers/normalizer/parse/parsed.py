"""What a parser child takes and gives: plain values, so that the child needs no event schemas."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Kind = Literal["file", "feed", "html"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one document may cost. `expansion` bounds the unpacked bytes of a container (DOCX is a zip)."""

    chars: int = 5_000_000
    expansion: int = 200 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Job:
    """Bytes to parse, with what the source says of them."""

    kind: Kind
    body: bytes
    name: str = ""
    content_type: str = ""
    address: str = ""
    """Where it came from, to resolve relative links of a feed."""
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Parsed:
    """The text of a document and what the document says of itself. No text means that it has none."""

    text: str
    format: Literal["markdown", "text", "code"] = "text"
    media_type: str = "text/plain"
    title: str = ""
    authors: tuple[str, ...] = ()
    created_at: datetime | None = None
    updated_at: datetime | None = None
    metadata: dict[str, str | int | bool | tuple[str, ...]] = field(default_factory=dict)
    empty: str = ""
    """Why there is no text, where the parser knows (a PDF of scanned pages)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a feed."""

    id: str
    title: str
    text: str
    url: str
    authors: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    published_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed as read now."""

    title: str
    url: str
    entries: tuple[Entry, ...]


class ParseError(Exception):
    """The document cannot be read, and never will be: `reason` is a value of `schemas.dead_letters.Reason`."""

    def __init__(self, reason: str, detail: str) -> None:
        # Both go to the base class: an exception crosses the process border by its `args`.
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def oversize(chars: int) -> ParseError:
    """The refusal of a text of more than `chars` code points."""
    return ParseError("oversize", f"the text is longer than {chars} characters")
