"""The generic connector: CloudEvents, structured or binary, or plain JSON.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md. The document is described by these fields of the
data (CloudEvents) or of the body (plain JSON):

| field | meaning |
|---|---|
| `subject` of the CloudEvent, else `subject`, `external_id`, `id` | the sender's stable name of the document |
| `text`, `body`, `content`, `markdown`, `html` | its text, the first that is there; all but `html` are Markdown |
| `title`, `url`, `author` or `authors`, `created_at`, `updated_at`, `kind`, `metadata` | as they say |
| `version` or `sequence` (also as CloudEvents extensions) | a whole number that grows with each state |
| `deleted: true`, `operation: "delete"`, or a type that ends in `.deleted` | the document is gone, and all in it |
| `parent` or `parents` | names of what it stands in, outermost first: a folder, a channel, a thread |
"""

from dataclasses import replace
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import (
    AliasChoices,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)

from infra.errors import Permanent
from schemas.dead_letters import Reason
from schemas.documents import Author
from schemas.event import Version
from schemas.raw import RawEvent
from workers.normalizer.parse.parsed import Feed, Job, Limits, Parsed
from workers.normalizer.sources.draft import (
    THIS,
    Contents,
    Draft,
    Drafts,
    NotADocument,
    Numbered,
    Revised,
    Revision,
    Unrevised,
)
from workers.normalizer.sources.facts import Facts
from workers.normalizer.sources.files import flat
from workers.normalizer.sources.json_body import faults, read_object

_BINARY_MODE = "ce-"
_NAMES = ("subject", "external_id", "id")
_STRUCTURED = "application/cloudevents+json"


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]
"""A sender's name of a document or of what documents stand in; a number is taken as its digits."""


class Person(BaseModel):
    """An author as an object."""

    model_config = ConfigDict(extra="ignore")

    name: str = ""
    handle: str = Field(default="", validation_alias=AliasChoices("handle", "login", "email"))


class Description(BaseModel):
    """The fields of a document; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=False)

    text: str | None = None
    body: str | None = None
    content: str | None = None
    markdown: str | None = None
    html: str | None = None
    title: str | None = None
    kind: str | None = Field(default=None, max_length=100)
    url: str | None = None
    author: str | Person | None = None
    authors: list[str | Person] = []
    created_at: AwareDatetime | None = None
    updated_at: AwareDatetime | None = None
    metadata: dict[str, Any] = {}
    parent: Name | None = None
    parents: list[Name] = Field(default=[], max_length=20)
    deleted: bool = False
    operation: Literal["put", "upsert", "create", "update", "delete"] = "upsert"

    @field_validator("parent", "parents", mode="before")
    @classmethod
    def _numbers_are_names(cls, value: Any) -> Any:
        # As an id may be: the same number must name the same thing in both places.
        if isinstance(value, list):
            return [str(each) if isinstance(each, int) and not isinstance(each, bool) else each for each in value]
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @property
    def above(self) -> tuple[str, ...]:
        """Everything that it stands in, outermost first."""
        return (*self.parents, *([self.parent] if self.parent else []))

    @property
    def markdown_text(self) -> str:
        """The first text that is given and not HTML."""
        return next((text for text in (self.text, self.body, self.content, self.markdown) if text), "")

    @property
    def people(self) -> tuple[Author, ...]:
        """All authors, each once."""
        given = [*([self.author] if self.author else []), *self.authors]
        people = [Person(name=each) if isinstance(each, str) else each for each in given]
        named = [
            Author(name=each.name or each.handle, handle=each.handle) for each in people if each.name or each.handle
        ]
        return tuple(dict.fromkeys(named))


class Said(BaseModel):
    """A delivery, whichever form it came in."""

    external_id: str
    type: str
    version: Version | None
    description: Description


def job(raw: RawEvent, limits: Limits) -> Job | None:
    """Return what is to be parsed: HTML, where that is the only text."""
    described = read(raw).description
    if described.html and not described.markdown_text:
        return Job("html", described.html.encode("utf-8", "replace"), limits=limits)
    return None


def drafts(raw: RawEvent, parsed: Parsed | Feed | None) -> Drafts:
    """Return the document that a delivery describes. Raises Permanent as `read`."""
    said = read(raw)
    described = said.description
    revision = _revision(said)
    if described.deleted or described.operation == "delete" or said.type.endswith(".deleted"):
        if not said.external_id:
            raise Permanent(Reason.SCHEMA_VIOLATION, "a deletion names no document: subject, external_id or id")
        # Not final: a sender may create the same name again.
        gone = Draft(said.external_id, "document", revision=revision, deleted=True, final=False)
        return (replace(gone, parents=described.above, contents=Contents.REMOVED),)
    text = parsed.text if isinstance(parsed, Parsed) else described.markdown_text
    if not text.strip():
        return _without_text(said)
    facts = Facts()
    for author in described.people:
        place = f"generic:{author.handle or author.name}"
        facts.state(facts.entity("person", place, author.name), "AUTHORED", THIS)
    title = described.title or (parsed.title if isinstance(parsed, Parsed) else "")
    return (
        Draft(
            external_id=said.external_id or described.url or raw.delivery,
            kind=described.kind or "document",
            title=title,
            text=text,
            authors=described.people,
            created_at=described.created_at,
            updated_at=described.updated_at,
            url=described.url or "",
            metadata=flat(described.metadata) | ({"type": said.type} if said.type else {}),
            entities=facts.entities,
            relations=facts.relations,
            revision=revision,
            parents=described.above,
        ),
    )


def _without_text(said: Said) -> Drafts:
    """A name that is created is there, text or not: what stands in it may be sent again."""
    if said.external_id and (said.description.operation == "create" or said.type.endswith(".created")):
        there = Draft(said.external_id, "document", revision=_revision(said), deleted=True, final=False)
        return (replace(there, parents=said.description.above, contents=Contents.OPEN),)
    return NotADocument("no text in text, body, content, markdown or html")


def read(raw: RawEvent) -> Said:
    """Return what `raw` says. Raises Permanent: INVALID_JSON, SCHEMA_VIOLATION."""
    # In headers a text is percent-encoded (CloudEvents HTTP binding 1.0.2, 3.1.3.2); in the structured form it is not.
    said = {name: unquote(value) for name, value in raw.attributes.items()}
    attributes = {name[len(_BINARY_MODE) :]: value for name, value in said.items() if _is_binary(name)}
    if attributes:
        payload = _data_of_binary(raw)
    else:
        payload = read_object(raw.body)
        if "specversion" in payload or raw.content_type.startswith(_STRUCTURED):
            attributes = {name: value for name, value in payload.items() if name not in {"data", "data_base64"}}
            payload = _data_of_structured(payload)
    try:
        return Said(
            external_id=_external_id(attributes, payload),
            type=str(attributes.get("type") or payload.get("type") or ""),
            version=_version(attributes, payload),
            description=Description.model_validate(payload),
        )
    except ValidationError as error:
        raise Permanent(Reason.SCHEMA_VIOLATION, faults(error)) from error


def _is_binary(name: str) -> bool:
    return name.startswith(_BINARY_MODE)


def _data_of_binary(raw: RawEvent) -> dict[str, Any]:
    media_type = raw.content_type.partition(";")[0].strip().lower()
    if media_type in {"text/plain", "text/markdown", "text/html"}:
        text = raw.body.decode("utf-8", "replace")
        return {"html": text} if media_type == "text/html" else {"text": text}
    return read_object(raw.body) if raw.body.strip() else {}


def _data_of_structured(event: dict[str, Any]) -> dict[str, Any]:
    data = event.get("data")
    if data is None:
        return {}
    if isinstance(data, str):
        # The specification allows data of any type; a text is the document's text.
        return {"html" if "html" in str(event.get("datacontenttype", "")) else "text": data}
    if not isinstance(data, dict):
        raise Permanent(Reason.SCHEMA_VIOLATION, f"data: an object or a text is wanted, not {type(data).__name__}")
    return data


def _external_id(attributes: dict[str, Any], payload: dict[str, Any]) -> str:
    """Return the sender's name of the document. A CloudEvent's own `id` names the event and not the document."""
    for value in (attributes.get("subject"), *(payload.get(name) for name in _NAMES)):
        if isinstance(value, str) and value.strip():
            return value.strip()
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return ""


def _version(attributes: dict[str, Any], payload: dict[str, Any]) -> Any:
    """Return the stated version as it is; pydantic judges it. CloudEvents says extensions as text in binary mode."""
    for place in (payload, attributes):
        for name in ("version", "sequence"):
            value = place.get(name)
            if value not in (None, ""):
                return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    return None


def _revision(said: Said) -> Revision:
    if said.version is not None:
        return Numbered(said.version)
    at = said.description.updated_at
    return Revised(at) if at else Unrevised()
