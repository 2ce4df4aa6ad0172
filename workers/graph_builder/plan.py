"""Turns document versions into the nodes and edges they are in the graph. No I/O: what is written is decided here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urldefrag

from infra.neo4j.schema import DOCUMENT_PREFIX, NAME_LIMIT, document_node_id, fold, node_id, place_of, tail_of
from schemas.documents import DocumentVersion, Entity
from workers.graph_builder.mention import Mention

ENTITIES_LIMIT = RELATIONS_LIMIT = 2_000
LINKS_LIMIT = MENTIONS_LIMIT = 500
"""Edges of one document: what a page of thousands of links says with each is little, and a transaction of one document
must fit into the memory that a small server gives to one (about 70 % of its heap)."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DocumentPlan:
    """Everything one document version is in the graph. Rows are parameters of the statements in `store`."""

    node: str
    version: int
    properties: Row
    states: tuple[Row, ...] = ()
    """Entities that the source names in it."""
    relations: tuple[Row, ...] = ()
    pages: tuple[str, ...] = ()
    """Ids of the pages that it links to."""
    mentions: tuple[Row, ...] = ()
    """Entities that its text names, less those that the source names already."""

    @property
    def rank(self) -> tuple[int, bool]:
        """What decides which of two states stays: of one version the deletion does."""
        return self.version, bool(self.properties["deleted"])

    @property
    def edges(self) -> int:
        """How many edges the document has."""
        return len(self.states) + len(self.relations) + len(self.pages) + len(self.mentions)


def newest(versions: Sequence[DocumentVersion]) -> list[DocumentVersion]:
    """Return the highest version of each document, in the order of their nodes: the order in which locks are taken.

    Of equal versions a deletion counts, else the last, as in a serial run.
    """
    best: dict[str, DocumentVersion] = {}
    for version in versions:
        node = document_node_id(version.workspace, version.document_id)
        if node not in best or _rank(best[node]) <= _rank(version):
            best[node] = version
    return [best[node] for node in sorted(best)]


def _rank(version: DocumentVersion) -> tuple[int, bool]:
    return version.version, version.operation == "delete"


def plan(version: DocumentVersion, mentions: Iterable[Mention] = ()) -> DocumentPlan:
    """Plan the graph of one document version; a deletion leaves the bare node as a tombstone."""
    node = document_node_id(version.workspace, version.document_id)
    if version.operation == "delete":
        return DocumentPlan(node, version.version, _properties(version, node))
    stated = dict.fromkeys((r.subject, r.predicate, r.object) for r in version.relations)
    relations = sorted(list(stated)[:RELATIONS_LIMIT])
    entities = _entities(version, {key for subject, _, object_ in relations for key in (subject, object_)})
    states = {key: _state(version, node, entity) for key, entity in sorted(entities.items())}
    named = [_mention(version, node, found) for found in mentions if found.key not in entities]
    return DocumentPlan(
        node=node,
        version=version.version,
        properties=_properties(version, node),
        states=tuple(states.values()),
        relations=tuple(_relation(version, node, *relation) for relation in relations),
        pages=_pages(version),
        mentions=tuple(named[:MENTIONS_LIMIT]),
    )


def _entities(version: DocumentVersion, related: set[str]) -> dict[str, Entity]:
    """Return the stated entities by key; one that only a relation names is named by its key."""
    bare = {key: Entity(key=key, kind=key.partition(":")[0], name=key.split(":", 2)[-1]) for key in related}
    stated = bare | {entity.key: entity for entity in version.entities[:ENTITIES_LIMIT]}
    own = f"{DOCUMENT_PREFIX}{version.document_id}"
    if own in stated:
        # The document as an entity looks as its node does: one thing, whichever way a read comes to it.
        stated[own] = Entity(key=own, kind=version.kind, name=_title(version), url=version.url)
    return stated


def _properties(version: DocumentVersion, node: str) -> Row:
    bare = {
        "id": node,
        "workspace": version.workspace,
        "document": str(version.document_id),
        "version": version.version,
        "source": version.source,
        "connector": version.connector,
        "deleted": version.operation == "delete",
    }
    if version.operation == "delete":
        return bare
    described = {"kind": version.kind, "title": _title(version), "url": version.url}
    return bare | described | {"place": place_of(version.workspace, version.url)}


def _title(version: DocumentVersion) -> str:
    return (version.title or version.external_id)[:NAME_LIMIT]


def _state(version: DocumentVersion, node: str, entity: Entity) -> Row:
    name = entity.name or entity.key
    return {
        "document": node,
        "version": version.version,
        "workspace": version.workspace,
        "entity": node_id(version.workspace, entity.key),
        "key": entity.key,
        "kind": entity.kind[:NAME_LIMIT],
        "name": name,
        "aliases": list(entity.aliases),
        "folded": fold(name),
        "tail": tail_of(entity.key),
        "place": place_of(version.workspace, entity.url),
    }


def _relation(version: DocumentVersion, node: str, subject: str, predicate: str, object_: str) -> Row:
    return {
        "document": node,
        "version": version.version,
        "subject": node_id(version.workspace, subject),
        "predicate": predicate,
        "object": node_id(version.workspace, object_),
    }


def _pages(version: DocumentVersion) -> tuple[str, ...]:
    """Return the linked pages; a link to a place inside a page is a link to that page too."""
    addresses = [address for link in version.links[:LINKS_LIMIT] for address in (link, urldefrag(link).url)]
    places = {place for address in addresses if (place := place_of(version.workspace, address))}
    return tuple(sorted(places - {place_of(version.workspace, version.url)}))


def _mention(version: DocumentVersion, node: str, found: Mention) -> Row:
    return {
        "document": node,
        "version": version.version,
        "entity": node_id(version.workspace, found.key),
        "start": found.start,
        "end": found.end,
        "count": found.count,
    }
