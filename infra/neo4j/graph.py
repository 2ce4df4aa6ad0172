"""Reads of the graph, each inside one workspace: who is connected with whom, and which documents say so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from infra.neo4j.client import GraphDriver, Row
from infra.neo4j.schema import DOCUMENT_PREFIX, document_node_id, fold, node_id

Direction = Literal["out", "in"]

SCAN_LIMIT = 20_000
"""Relations of one entity that a read looks at: bounds the time of a question about a hub (a large repository)."""

DOCUMENTS_SHOWN = 20
"""Documents named as evidence of one neighbor."""


@dataclass(frozen=True, slots=True)
class GraphEntity:
    """A node as seen from outside. A document has the key `document:<uuid>`, its kind and its title."""

    key: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Neighbor:
    """Something stated of the entity: `out` reads "entity PREDICATE neighbor", `in` the other way round."""

    predicate: str
    direction: Direction
    entity: GraphEntity
    documents: tuple[str, ...]
    """Ids of documents that state it, at most `DOCUMENTS_SHOWN`."""


@dataclass(frozen=True, slots=True)
class Neighborhood:
    """An entity and what is stated of it, best attested first."""

    entity: GraphEntity
    neighbors: tuple[Neighbor, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """A statement: subject PREDICATE object, and the documents that make it."""

    subject: GraphEntity
    predicate: str
    object: GraphEntity
    documents: tuple[str, ...]


_BY_KEY = "MATCH (e:Entity {id: $id}) RETURN e.key AS key, e.kind AS kind, e.name AS name"
_DOCUMENT_BY_ID = """
MATCH (d:Document {id: $id}) WHERE NOT d.deleted
RETURN 'document:' + d.document AS key, d.kind AS kind, d.title AS name
"""
# The same name may be borne by several: the exact spelling wins, then the one that the most documents state.
_BY_NAME = """
MATCH (e:Entity {workspace: $workspace, folded: $folded})
RETURN e.key AS key, e.kind AS kind, e.name AS name
ORDER BY e.name = $name DESC, COUNT { (e)<-[:STATES]-() } DESC, key LIMIT 1
"""
_BY_TAIL = """
MATCH (e:Entity {workspace: $workspace, tail: $folded})
RETURN e.key AS key, e.kind AS kind, e.name AS name
ORDER BY COUNT { (e)<-[:STATES]-() } DESC, key LIMIT 1
"""

_AROUND_ENTITY = """
MATCH (e:Entity {id: $id})
CALL (e) {
  MATCH (e)-[r:RELATED]-(o:Entity)
  WITH e, r, o LIMIT $scan
  RETURN r.predicate AS predicate, CASE WHEN startNode(r) = e THEN 'out' ELSE 'in' END AS direction,
         o.key AS key, o.kind AS kind, o.name AS name, split(r.document, '/')[1] AS document
  UNION ALL
  MATCH (e)<-[r:MENTIONS]-(d:Document)
  WITH d LIMIT $scan
  RETURN 'MENTIONS' AS predicate, 'in' AS direction,
         'document:' + d.document AS key, d.kind AS kind, d.title AS name, d.document AS document
  UNION ALL
  MATCH (p:Page {id: e.place})<-[:LINKS_TO]-(d:Document)
  WITH d LIMIT $scan
  RETURN 'LINKS_TO' AS predicate, 'in' AS direction,
         'document:' + d.document AS key, d.kind AS kind, d.title AS name, d.document AS document
}
"""
# A document is also an entity where its source states something of it ("ann AUTHORED this"), under the same key.
_AROUND_DOCUMENT = """
MATCH (d:Document {id: $id})
CALL (d) {
  MATCH (e:Entity {id: d.workspace + '/document:' + d.document})-[r:RELATED]-(o:Entity)
  WITH e, r, o LIMIT $scan
  RETURN r.predicate AS predicate, CASE WHEN startNode(r) = e THEN 'out' ELSE 'in' END AS direction,
         o.key AS key, o.kind AS kind, o.name AS name, split(r.document, '/')[1] AS document
  UNION ALL
  MATCH (d)-[r:STATES|MENTIONS]->(o:Entity) WHERE o.key <> 'document:' + d.document
  WITH d, r, o LIMIT $scan
  RETURN type(r) AS predicate, 'out' AS direction, o.key AS key, o.kind AS kind, o.name AS name, d.document AS document
  UNION ALL
  MATCH (d)-[:LINKS_TO]->(p:Page) WITH d, p LIMIT $scan
  MATCH (o:Entity {place: p.id})
  RETURN 'LINKS_TO' AS predicate, 'out' AS direction, o.key AS key, o.kind AS kind, o.name AS name,
         d.document AS document
  UNION ALL
  MATCH (d)-[:LINKS_TO]->(p:Page) WITH d, p LIMIT $scan
  MATCH (o:Document {place: p.id}) WHERE o <> d AND NOT o.deleted
  RETURN 'LINKS_TO' AS predicate, 'out' AS direction, 'document:' + o.document AS key, o.kind AS kind,
         o.title AS name, d.document AS document
  UNION ALL
  MATCH (p:Page {id: d.place})<-[:LINKS_TO]-(o:Document) WHERE o <> d
  WITH o LIMIT $scan
  RETURN 'LINKS_TO' AS predicate, 'in' AS direction, 'document:' + o.document AS key, o.kind AS kind,
         o.title AS name, o.document AS document
}
"""
_GROUPED = """
WITH predicate, direction, key, kind, name, collect(DISTINCT document) AS documents
ORDER BY size(documents) DESC, predicate, direction, key LIMIT $limit
RETURN predicate, direction, key, kind, name, documents[0..$shown] AS documents
"""

# Every entity has a kind; only a condition on both of its properties makes the index on (workspace, kind) usable.
_FACTS = """
MATCH (e:Entity {workspace: $workspace})-[r:RELATED {predicate: $predicate}]->(o:Entity) WHERE e.kind IS NOT NULL
WITH e, o, split(r.document, '/')[1] AS document LIMIT $scan
WITH e, o, collect(DISTINCT document) AS documents
ORDER BY size(documents) DESC, e.key, o.key LIMIT $limit
RETURN e.key AS key, e.kind AS kind, e.name AS name, o.key AS object_key, o.kind AS object_kind,
       o.name AS object_name, documents[0..$shown] AS documents
"""


async def find_entity(graph: GraphDriver, workspace: str, entity: str) -> GraphEntity | None:
    """Find what `entity` means in `workspace`: a key, `document:<uuid>`, a name (exact, then without regard to case),
    then the source's own id (`octocat` for `person:github:octocat`). None if nothing does. Raises Transient.
    """
    document = _document_of(entity)
    if document:
        return await _one(graph, _DOCUMENT_BY_ID, {"id": document_node_id(workspace, document)})
    parameters = {"workspace": workspace, "name": entity, "folded": fold(entity)}
    return (
        await _one(graph, _BY_KEY, {"id": node_id(workspace, entity)})
        or await _one(graph, _BY_NAME, parameters)
        or await _one(graph, _BY_TAIL, parameters)
    )


async def neighbors(graph: GraphDriver, workspace: str, entity: str, limit: int = 50) -> Neighborhood | None:
    """Return what is stated of `entity` (see `find_entity`), best attested first, or None if it is unknown.

    Raises Transient if Neo4j cannot be reached, ValueError if `limit` is not positive.
    """
    if limit < 1:
        raise ValueError(f"limit is at least 1, not {limit}")
    found = await find_entity(graph, workspace, entity)
    if found is None:
        return None
    document = _document_of(found.key)
    own = document_node_id(workspace, document) if document else node_id(workspace, found.key)
    parameters = {"id": own, "limit": limit, "scan": SCAN_LIMIT, "shown": DOCUMENTS_SHOWN}
    rows = await graph.read((_AROUND_DOCUMENT if document else _AROUND_ENTITY) + _GROUPED, parameters)
    return Neighborhood(found, tuple(map(_neighbor, rows)))


async def facts(graph: GraphDriver, workspace: str, predicate: str, limit: int = 10) -> tuple[Fact, ...]:
    """Return what the documents of `workspace` state with `predicate` (`AUTHORED`), best attested first.

    Raises Transient.
    """
    parameters = {
        "workspace": workspace,
        "predicate": predicate,
        "limit": limit,
        "scan": SCAN_LIMIT,
        "shown": DOCUMENTS_SHOWN,
    }
    return tuple(
        Fact(
            _entity(row),
            predicate,
            GraphEntity(row["object_key"], row["object_kind"], row["object_name"]),
            tuple(row["documents"]),
        )
        for row in await graph.read(_FACTS, parameters)
    )


def _document_of(key: str) -> UUID | None:
    """Return the document that `key` addresses, None for an entity (a source may name a kind `document` itself)."""
    if not key.startswith(DOCUMENT_PREFIX):
        return None
    try:
        return UUID(key.removeprefix(DOCUMENT_PREFIX))
    except ValueError:
        return None


async def _one(graph: GraphDriver, statement: str, parameters: Mapping[str, Any]) -> GraphEntity | None:
    rows = await graph.read(statement, parameters)
    return _entity(rows[0]) if rows else None


def _entity(row: Row) -> GraphEntity:
    return GraphEntity(row["key"], row["kind"] or "", row["name"] or "")


def _neighbor(row: Row) -> Neighbor:
    return Neighbor(row["predicate"], row["direction"], _entity(row), tuple(row["documents"]))
