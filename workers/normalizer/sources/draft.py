"""What a connector's mapping makes of a delivery, before ids, versions and chunks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Literal

from schemas.documents import Author, Entity, MetadataValue, Relation

THIS = "document:this"
"""Entity key by which a mapping speaks of its own document; replaced by the document's key once its id is known."""

Format = Literal["markdown", "text", "code"]
"""How the text is structured, which decides where chunks are cut."""


@dataclass(frozen=True, slots=True)
class Revised:
    """The source dates each state of the document.

    `exact` says that the thing never changes after this date (a commit): its number has no part of the arrival. Without
    it the order of arrival decides among states of the same second.
    """

    at: datetime
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Numbered:
    """The source numbers the states of the document; the number is the version."""

    version: int


@dataclass(frozen=True, slots=True)
class Unrevised:
    """The source says nothing about order: acceptance decides."""


@dataclass(frozen=True, slots=True)
class Follows:
    """The change empties, or does not touch, the field that dates the document.

    It is newer than whatever arrived before it, though its own date is older; what has a later date is newer still.
    """

    at: datetime | None = None


Revision = Revised | Numbered | Unrevised | Follows


class Contents(Enum):
    """What a state of a thing means for what stands in it (drafts that name it among their `parents`)."""

    UNTOUCHED = "untouched"
    """Nothing. A state that is no deletion says that the thing is there: contents may be sent again."""
    REMOVED = "removed"
    """They go with it, and late ones stay out until the thing itself comes back."""
    REMOVED_UP_TO_NOW = "removed up to now"
    """They go, and late ones that are not dated after it; the source goes on to send newer ones."""
    OPEN = "open"
    """Whatever was removed before: from now on they may be sent again."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A document in its source's words. `deleted` drafts need an external id and a revision only."""

    external_id: str
    kind: str
    title: str = ""
    text: str = ""
    format: Format = "markdown"
    authors: tuple[Author, ...] = ()
    created_at: datetime | None = None
    updated_at: datetime | None = None
    url: str = ""
    links: tuple[str, ...] = ()
    """Addresses that the source gives beside the text; those in the text are found later."""
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    revision: Revision = Unrevised()
    deleted: bool = False
    final: bool = True
    """A deletion after which the source never gives this external id again; else it was emptied and may be refilled."""
    parents: tuple[str, ...] = ()
    """External ids of everything that it stands in, outermost first; they need not be documents themselves."""
    contents: Contents = Contents.UNTOUCHED
    """What becomes of the documents that stand in it."""


@dataclass(frozen=True, slots=True)
class NotADocument:
    """The delivery is sound and says nothing that is kept; `detail` tells an operator why."""

    detail: str


Drafts = tuple[Draft, ...] | NotADocument
