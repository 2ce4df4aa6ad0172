"""From a delivery to states of documents: pure, so that the same delivery at the same place gives the same states."""

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from hashlib import blake2b
from uuid import UUID

from infra.errors import Permanent
from schemas import ids
from schemas.dead_letters import Reason
from schemas.documents import Author, Chunk, DocumentVersion, Entity, MetadataValue, Relation
from schemas.ids import name_of
from schemas.raw import RawEvent
from workers.normalizer.chunk import OVERLAP, SIZE, cut
from workers.normalizer.decide import Asked, State
from workers.normalizer.language import language_of
from workers.normalizer.parse.parsed import Feed, Limits, Parsed
from workers.normalizer.sources.draft import THIS, Contents, Draft, Follows, Format, NotADocument, Numbered
from workers.normalizer.sources.registry import mapping_of
from workers.normalizer.text import clean, links_in, one_line, web_address
from workers.normalizer.version import user_deletion, version_of

Outcome = tuple[State, ...] | NotADocument

MAX_METADATA = 100
_MAX_VALUE = 1_000
_MAX_LIST = 100
_MAX_LINKS = 200
_MAX_AUTHORS = 50
_MAX_NAME = 200
_MAX_ID = 2_000
_MAX_PARENTS = 20
_DIGEST_BYTES = 16
_NO_PART = {"event_id", "received_at", "version"}
"""What a document's event says of itself and no state says of the document."""
_UNPRINTABLE = {"Cc", "Cs"}
"""Control characters, of which ids may not hold the separator nor Postgres a NUL, and lone surrogates."""


def normalize(
    raw: RawEvent,
    offset: int,
    parsed: Parsed | Feed | None,
    limits: Limits,
    *,
    size: int = SIZE,
    overlap: int = OVERLAP,
) -> Outcome:
    """Return what `raw`, first accepted at `offset` of its partition, says; `parsed` is what its job gave, if any.

    Raises Permanent where it can never be read.
    """
    mapping = mapping_of(raw.connector)
    if raw.operation == "delete":
        return (_user_deletion(raw, offset, ordered=mapping.ordered_deletions),)
    drafts = mapping.drafts(raw, parsed)
    if isinstance(drafts, NotADocument):
        return drafts
    states = [_state(draft, raw, offset, limits, partial(cut, size=size, overlap=overlap)) for draft in drafts]
    spoken = [state for state in states if state is not None]
    return tuple(newest(spoken)) if spoken else NotADocument("no text but control characters and blanks")


def newest(states: Iterable[State]) -> list[State]:
    """Return one state per document, the highest: a feed or a push may name one thing twice."""
    kept: dict[UUID, State] = {}
    for state in states:
        known = kept.get(state.version.document_id)
        if known is None or state.version.version > known.version.version:
            kept[state.version.document_id] = state
    return list(kept.values())


def _user_deletion(raw: RawEvent, offset: int, *, ordered: bool) -> State:
    if not raw.subject:
        raise Permanent(Reason.SCHEMA_VIOLATION, "a deletion names no document: its subject is empty")
    version = user_deletion(raw.after_version, offset, ordered=ordered)
    contents = Contents.REMOVED if raw.contents else Contents.UNTOUCHED
    # The subject as it is: it was read from the document that is to be deleted.
    deletion = _deletion(raw, raw.subject, version, "document")
    return State(deletion, _digest_of_deletion(contents), contents=contents, asked=Asked(raw.after_version, ordered))


def _deletion(
    raw: RawEvent, external_id: str, version: int, kind: str, parents: tuple[str, ...] = ()
) -> DocumentVersion:
    return DocumentVersion(
        workspace=raw.workspace,
        document_id=_document_id(raw, external_id),
        event_id=raw.event_id,
        source=raw.source,
        connector=raw.connector,
        external_id=external_id,
        operation="delete",
        version=version,
        kind=kind,
        received_at=raw.received_at,
        parents=parents,
    )


def _digest_of_deletion(contents: Contents) -> bytes:
    return f"deleted, contents {contents.value}".encode()


def _state(
    draft: Draft, raw: RawEvent, offset: int, limits: Limits, cutter: Callable[[str, Format], tuple[Chunk, ...]]
) -> State | None:
    number = version_of(draft.revision, offset, ended=draft.deleted and draft.final)
    if draft.deleted:
        deletion = _deletion(raw, name_of(draft.external_id), number, draft.kind, _parents(draft, raw))
        # What ends for good is never followed by anything, whatever date the source gave it.
        follows = draft.final or isinstance(draft.revision, Follows)
        return State(
            deletion, _digest_of_deletion(draft.contents), isinstance(draft.revision, Numbered), follows, draft.contents
        )
    version = _version(draft, raw, number, limits, cutter)
    if version is None:
        return None
    body = version.model_dump_json(exclude=_NO_PART)
    return State(
        version,
        blake2b(body.encode("utf-8", "replace"), digest_size=_DIGEST_BYTES).digest(),
        numbered=isinstance(draft.revision, Numbered),
        follows=isinstance(draft.revision, Follows),
        contents=draft.contents,
    )


def _version(
    draft: Draft, raw: RawEvent, number: int, limits: Limits, cutter: Callable[[str, Format], tuple[Chunk, ...]]
) -> DocumentVersion | None:
    if len(draft.text) > limits.chars:
        raise Permanent(Reason.OVERSIZE, f"a text of {len(draft.text)} characters, the limit is {limits.chars}")
    text = clean(draft.text)
    if not text.strip():
        return None
    external_id = name_of(draft.external_id)
    document_id = _document_id(raw, external_id)
    title = one_line(draft.title)
    entities, relations = _stated(draft, f"document:{document_id}", title)
    return DocumentVersion(
        workspace=raw.workspace,
        document_id=document_id,
        event_id=raw.event_id,
        source=raw.source,
        connector=raw.connector,
        external_id=external_id,
        operation="upsert",
        version=number,
        kind=draft.kind,
        title=title,
        language="" if draft.format == "code" else language_of(text),
        text=text,
        authors=tuple(_authors(draft.authors)),
        created_at=draft.created_at,
        updated_at=draft.updated_at,
        received_at=raw.received_at,
        url=web_address(draft.url),
        links=_links(draft, text),
        metadata=_metadata(draft.metadata),
        chunks=cutter(text, draft.format),
        entities=entities,
        relations=relations,
        parents=_parents(draft, raw),
    )


def _parents(draft: Draft, raw: RawEvent) -> tuple[str, ...]:
    """Return the names of everything that it stands in, each once. Raises Permanent for what can be no name."""
    own = name_of(draft.external_id)
    names = tuple(dict.fromkeys(name for parent in draft.parents if (name := name_of(parent)) and name != own))
    if len(names) > _MAX_PARENTS:
        raise Permanent(Reason.SCHEMA_VIOLATION, f"{len(names)} parents, the limit is {_MAX_PARENTS}")
    for name in names:
        _document_id(raw, name)
    return names


def _document_id(raw: RawEvent, external_id: str) -> UUID:
    if any(unicodedata.category(character) in _UNPRINTABLE for character in external_id):
        raise Permanent(Reason.SCHEMA_VIOLATION, "an external id holds a control character")
    if not external_id or len(external_id) > _MAX_ID:
        raise Permanent(
            Reason.SCHEMA_VIOLATION, f"an external id has 1 to {_MAX_ID} characters, not {len(external_id)}"
        )
    return ids.document_id(raw.workspace, raw.source, external_id)


def _authors(authors: Iterable[Author]) -> Iterable[Author]:
    for author in tuple(dict.fromkeys(authors))[:_MAX_AUTHORS]:
        name, handle = one_line(author.name, _MAX_NAME), one_line(author.handle, _MAX_NAME)
        if name or handle:
            yield Author(name=name or handle, handle=handle, role=author.role)


def _links(draft: Draft, text: str) -> tuple[str, ...]:
    stated = (web_address(link) for link in draft.links)
    return tuple(dict.fromkeys(filter(None, (*stated, *links_in(text)))))[:_MAX_LINKS]


def _metadata(metadata: Mapping[str, MetadataValue]) -> dict[str, MetadataValue]:
    """Return `metadata` bounded, without what is empty."""
    kept: dict[str, MetadataValue] = {}
    for name, value in list(metadata.items())[:MAX_METADATA]:
        bounded: MetadataValue = value
        if isinstance(value, str):
            bounded = clean(value)[:_MAX_VALUE]
        elif isinstance(value, tuple):
            bounded = tuple(clean(part)[:_MAX_VALUE] for part in value[:_MAX_LIST])
        if bounded not in ("", ()):
            kept[one_line(name, _MAX_NAME)] = bounded
    return kept


def _stated(draft: Draft, key: str, title: str) -> tuple[tuple[Entity, ...], tuple[Relation, ...]]:
    """Return the draft's statements with the document's own key in place of `THIS`, keys and names clean."""

    def known(mentioned: str) -> str:
        return key if mentioned == THIS else clean(mentioned)

    this = Entity(key=key, kind="document", name=title or draft.external_id[:_MAX_NAME])
    relations = tuple(
        relation.model_copy(update={"subject": known(relation.subject), "object": known(relation.object)})
        for relation in draft.relations
    )
    entities = tuple(
        entity.model_copy(update={"key": clean(entity.key), "name": one_line(entity.name) or clean(entity.key)})
        for entity in draft.entities
    )
    return (this, *entities), relations
