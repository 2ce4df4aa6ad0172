"""What a connector's mapping makes of a delivery, before ids, versions and chunks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from schemas.documents import Author, Entity, MetadataValue, Relation

THIS = "document:this"
"""Entity key by which a mapping speaks of its own document; replaced by the document's key once its id is known."""

Format = Literal["markdown", "text", "code"]
"""How the text is structured, which decides where chunks are cut."""


@dataclass(frozen=True, slots=True)
class Revised:
    """The source dates each state of the document.

    `exact` says that an equal date means an equal state (an Atom `updated`). Without it the order of arrival decides
    among states of the same second.
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


Revision = Revised | Numbered | Unrevised


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


@dataclass(frozen=True, slots=True)
class NotADocument:
    """The delivery is sound and says nothing that is kept; `detail` tells an operator why."""

    detail: str


Drafts = tuple[Draft, ...] | NotADocument
