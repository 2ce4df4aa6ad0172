"""Writes documents into the graph: several in one transaction, each gated by its version.

Order of locks, the same in every transaction, so that two of them rarely wait for each other in a circle (where they
do, Neo4j rolls one back and `GraphDriver.write` runs it again): documents, entities, pages, each sorted by id. Every
node whose edges change is locked by a property write before anything about it is read; what is read afterwards cannot
change until the commit.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from infra.neo4j.client import DEPENDENCY, Contention, GraphDriver, Row
from workers.graph_builder.mention import KINDS, Known
from workers.graph_builder.plan import DocumentPlan

if TYPE_CHECKING:
    from neo4j import AsyncTransaction

EDGES_AT_ONCE = 5_000
"""Edges of one transaction. Neo4j keeps all of it in memory: a batch of 64 documents with 2,000 entities each ended a
server with 300 MB of heap, and would have done so at every try."""

# Version 0 is below every real one.
_LOCK_DOCUMENTS = """
UNWIND $ids AS id
MERGE (d:Document {id: id}) ON CREATE SET d.version = 0
SET d.lock = 0
RETURN d.id AS id, d.version AS version, coalesce(d.deleted, false) AS deleted
"""
_READ_OLD = """
UNWIND $ids AS id
MATCH (:Document {id: id})-[r:STATES|LINKS_TO]->(n)
RETURN DISTINCT type(r) = 'STATES' AS entity, n.id AS id
"""
_LOCK_ENTITIES = """
UNWIND $ids AS id
MERGE (e:Entity {id: id}) ON CREATE SET e.named_version = 0
SET e.lock = 0
"""
# A node that another transaction deletes while this one waits for its lock is gone afterwards, and Neo4j says nothing:
# what is stated of it would be lost. All locks are held when this is asked, so none can vanish after it.
_COUNT_ENTITIES = "UNWIND $ids AS id MATCH (e:Entity {id: id}) RETURN count(e) AS present"
_COUNT_PAGES = "UNWIND $ids AS id MATCH (p:Page {id: id}) RETURN count(p) AS present"
_LOCK_PAGES = """
UNWIND $ids AS id
MERGE (p:Page {id: id}) ON CREATE SET p.workspace = split(id, '/')[0]
SET p.lock = 0
"""
_CLEAR = """
UNWIND $ids AS id
MATCH (:Document {id: id})-[r:STATES|MENTIONS|LINKS_TO]->() DELETE r
"""
_CLEAR_RELATIONS = "UNWIND $ids AS id MATCH ()-[r:RELATED {document: id}]->() DELETE r"
_DESCRIBE = "UNWIND $rows AS row MATCH (d:Document {id: row.id}) SET d = row"
_STATE = """
UNWIND $rows AS row
MATCH (d:Document {id: row.document}) MATCH (e:Entity {id: row.entity})
CREATE (d)-[:STATES {document: row.document, version: row.version, workspace: row.workspace, key: row.key,
  kind: row.kind, name: row.name, aliases: row.aliases, folded: row.folded, tail: row.tail, place: row.place}]->(e)
"""
_RELATE = """
UNWIND $rows AS row
MATCH (s:Entity {id: row.subject}) MATCH (o:Entity {id: row.object})
CREATE (s)-[:RELATED {predicate: row.predicate, document: row.document, version: row.version}]->(o)
"""
_LINK = """
UNWIND $rows AS row
MATCH (d:Document {id: row.document}) MATCH (p:Page {id: row.page})
CREATE (d)-[:LINKS_TO {document: row.document, version: row.version}]->(p)
"""
# A name is that of the newest statement, whatever the order of arrival: of the highest version, then document id.
_NAME = """
UNWIND $rows AS row
MATCH (e:Entity {id: row.entity})
WHERE e.named_version < row.version OR (e.named_version = row.version AND coalesce(e.named_by, '') <= row.document)
SET e.workspace = row.workspace, e.key = row.key, e.kind = row.kind, e.name = row.name, e.aliases = row.aliases,
    e.folded = row.folded, e.tail = row.tail, e.place = row.place, e.named_version = row.version,
    e.named_by = row.document
"""
# Only where the document that gave the name states the entity no more are the other statements read: a repository
# with 100,000 issues is not read for each of them.
_RENAME = """
UNWIND $ids AS id
MATCH (e:Entity {id: id})
WHERE e.named_by IN $documents AND NOT EXISTS { (:Document {id: e.named_by})-[:STATES]->(e) }
CALL (e) { MATCH (e)<-[s:STATES]-() RETURN s ORDER BY s.version DESC, s.document DESC LIMIT 1 }
SET e.kind = s.kind, e.name = s.name, e.aliases = s.aliases, e.folded = s.folded, e.tail = s.tail, e.place = s.place,
    e.named_version = s.version, e.named_by = s.document
"""
_FORGET_ENTITIES = """
UNWIND $ids AS id
MATCH (e:Entity {id: id}) WHERE NOT EXISTS { (e)<-[:STATES]-() }
DETACH DELETE e
"""
_FORGET_PAGES = "UNWIND $ids AS id MATCH (p:Page {id: id}) WHERE NOT EXISTS { (p)<-[:LINKS_TO]-() } DELETE p"
# After the removal of what nobody states any more: a mention never brings an entity back, nor keeps it alive.
_MENTION = """
UNWIND $rows AS row
MATCH (d:Document {id: row.document}) MATCH (e:Entity {id: row.entity})
CREATE (d)-[:MENTIONS {document: row.document, version: row.version, start: row.start, end: row.end,
  count: row.count}]->(e)
"""
_KNOWN = """
MATCH (e:Entity {workspace: $workspace}) WHERE e.kind IN $kinds
RETURN e.key AS key, e.kind AS kind, e.name AS name, e.aliases AS aliases LIMIT $limit
"""


async def apply(graph: GraphDriver, plans: Sequence[DocumentPlan]) -> frozenset[str]:
    """Write `plans` and return the nodes of those that were stale: a newer version is held.

    `plans` are sorted by node and name each node once. Each document is written in one transaction, several in each
    of them up to `EDGES_AT_ONCE`. Raises Transient, Permanent; what was written until then has the same effect again.
    """
    stale: set[str] = set()
    for group in groups(plans):
        stale |= await graph.write(partial(_apply, plans=group))
    return frozenset(stale)


def groups(plans: Sequence[DocumentPlan], limit: int = EDGES_AT_ONCE) -> list[list[DocumentPlan]]:
    """Cut `plans` into runs of at most `limit` edges together, or of one document with more."""
    runs: list[list[DocumentPlan]] = []
    room = 0
    for plan in plans:
        if not runs or plan.edges > room:
            runs.append([])
            room = limit
        runs[-1].append(plan)
        room -= plan.edges
    return runs


async def _apply(transaction: "AsyncTransaction", plans: Sequence[DocumentPlan]) -> frozenset[str]:
    held = await _rows(transaction, _LOCK_DOCUMENTS, ids=[plan.node for plan in plans])
    stored = {row["id"]: (row["version"], row["deleted"]) for row in held}
    fresh = [plan for plan in plans if stored[plan.node] <= plan.rank]
    if fresh:
        await _replace(transaction, fresh)
    return frozenset(plan.node for plan in plans) - {plan.node for plan in fresh}


async def known(graph: GraphDriver, workspace: str, limit: int) -> list[Known]:
    """Read the entities of `workspace` whose names may be looked for, at most `limit`. Raises Transient."""
    rows = await graph.read(_KNOWN, {"workspace": workspace, "kinds": sorted(KINDS), "limit": limit})
    return [Known(row["key"], row["kind"], row["name"], tuple(row["aliases"] or ())) for row in rows]


async def _replace(transaction: "AsyncTransaction", plans: Sequence[DocumentPlan]) -> None:
    nodes = [plan.node for plan in plans]
    old = await _rows(transaction, _READ_OLD, ids=nodes)
    states = [row for plan in plans for row in plan.states]
    mentions = [row for plan in plans for row in plan.mentions]
    links = _links(plans)
    entities = _sorted_ids([row["id"] for row in old if row["entity"]], [row["entity"] for row in states + mentions])
    pages = _sorted_ids([row["id"] for row in old if not row["entity"]], [row["page"] for row in links])
    await _lock(transaction, _LOCK_ENTITIES, _COUNT_ENTITIES, entities)
    await _lock(transaction, _LOCK_PAGES, _COUNT_PAGES, pages)
    await _run(transaction, _CLEAR, ids=nodes)
    await _run(transaction, _CLEAR_RELATIONS, ids=nodes)
    await _run(transaction, _DESCRIBE, rows=[plan.properties for plan in plans])
    await _run(transaction, _STATE, rows=states)
    await _run(transaction, _RENAME, ids=entities, documents=nodes)
    await _run(transaction, _NAME, rows=latest_names(states))
    await _run(transaction, _RELATE, rows=[row for plan in plans for row in plan.relations])
    await _run(transaction, _LINK, rows=links)
    await _run(transaction, _FORGET_ENTITIES, ids=entities)
    await _run(transaction, _FORGET_PAGES, ids=pages)
    await _run(transaction, _MENTION, rows=mentions)


async def _lock(transaction: "AsyncTransaction", lock: str, present: str, ids: list[str]) -> None:
    """Make sure that the nodes exist and stay as they are until the commit. Raises Contention if one vanished."""
    if not ids:
        return
    await _run(transaction, lock, ids=ids)
    (row,) = await _rows(transaction, present, ids=ids)
    if row["present"] != len(ids):
        raise Contention(DEPENDENCY, f"{len(ids) - row['present']} nodes vanished while their locks were awaited")


def _links(plans: Sequence[DocumentPlan]) -> list[Row]:
    return [{"document": plan.node, "version": plan.version, "page": page} for plan in plans for page in plan.pages]


def _sorted_ids(*ids: Sequence[str]) -> list[str]:
    return sorted(set().union(*ids))


def latest_names(states: Iterable[Row]) -> list[Row]:
    """Return for each entity the statement that names it: of the highest version, then document.

    The choice is made here because Cypher may read all rows of a list before it writes the first.
    """
    best: dict[str, Row] = {}
    for row in states:
        held = best.get(row["entity"])
        if held is None or (held["version"], held["document"]) <= (row["version"], row["document"]):
            best[row["entity"]] = row
    return list(best.values())


async def _run(transaction: "AsyncTransaction", statement: str, **parameters: Any) -> None:
    """Run a statement whose first parameter is what it unwinds; nothing to unwind costs no round trip."""
    if next(iter(parameters.values())):
        await (await transaction.run(statement, parameters)).consume()


async def _rows(transaction: "AsyncTransaction", statement: str, **parameters: Any) -> list[Row]:
    return await (await transaction.run(statement, parameters)).data()
