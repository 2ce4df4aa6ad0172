"""Compares the graph with the model: document nodes, statements, relations, links, and nodes that nobody names."""

from collections import Counter
from collections.abc import Mapping
from uuid import UUID

from bench.kill.findings import Fault, Findings
from bench.kill.model import World
from infra.neo4j.client import GraphDriver
from infra.neo4j.schema import document_node_id, node_id, place_of
from infra.qdrant.points import Head

SINK = "graph"
Edge = tuple[str, ...]

_DOCUMENTS = (
    "MATCH (d:Document) WHERE d.workspace IN $workspaces "
    "RETURN d.id AS id, d.workspace AS workspace, d.version AS version, d.deleted AS deleted"
)
_EDGES = {
    "statement": "MATCH (d:Document)-[r:STATES]->(e:Entity) WHERE d.workspace IN $workspaces "
    "RETURN [d.id, e.id] AS edge, r.version AS version",
    "relation": "MATCH (s:Entity)-[r:RELATED]->(o:Entity) WHERE split(s.id, '/')[0] IN $workspaces "
    "RETURN [r.document, s.id, r.predicate, o.id] AS edge, r.version AS version",
    "link": "MATCH (d:Document)-[r:LINKS_TO]->(p:Page) WHERE d.workspace IN $workspaces "
    "RETURN [d.id, p.id] AS edge, r.version AS version",
}
_NODES = {
    "entity": "MATCH (e:Entity) WHERE split(e.id, '/')[0] IN $workspaces RETURN e.id AS id",
    "page": "MATCH (p:Page) WHERE split(p.id, '/')[0] IN $workspaces RETURN p.id AS id",
}


async def compare_graph(graph: GraphDriver, world: World, heads: Mapping[UUID, Head], findings: Findings) -> None:
    """Read the graph of the run's workspaces and compare."""
    await _documents(graph, world, heads, findings)
    wanted = wanted_edges(world)
    for kind, statement in _EDGES.items():
        rows = await graph.read(statement, {"workspaces": world.workspaces})
        held = Counter(tuple(row["edge"]) for row in rows)
        findings.checked[f"graph {kind}s"] = len(rows)
        judge_edges(kind, held, wanted[kind], findings)
    named = {"entity": {edge[1] for edge in wanted["statement"]}, "page": {edge[1] for edge in wanted["link"]}}
    for kind, statement in _NODES.items():
        held_nodes = Counter(row["id"] for row in await graph.read(statement, {"workspaces": world.workspaces}))
        for node in held_nodes.keys() - named[kind]:
            findings.add(Fault.STALE, SINK, f"{kind} {node}, which no document names")
        for node in named[kind] - held_nodes.keys():
            findings.add(Fault.LOST, SINK, f"{kind} {node}")
        for node in (node for node, count in held_nodes.items() if count > 1):
            findings.add(Fault.DUPLICATED, SINK, f"{kind} {node}")


async def _documents(graph: GraphDriver, world: World, heads: Mapping[UUID, Head], findings: Findings) -> None:
    rows = await graph.read(_DOCUMENTS, {"workspaces": world.workspaces})
    findings.checked["graph documents"] = len(rows)
    found = {row["id"]: row for row in rows}
    if len(found) < len(rows):
        findings.add(Fault.DUPLICATED, SINK, f"{len(rows) - len(found)} document nodes share an id")
    wanted = {document_node_id(each.workspace, each.document_id): each for each in world.documents.values()}
    for node in found.keys() - wanted.keys():
        findings.add(Fault.DUPLICATED, SINK, f"document {node} that nobody sent")
    for node, document in wanted.items():
        row = found.get(node)
        head = heads.get(document.document_id)
        if head is None and not document.surely:
            # Unknown to Postgres, as it may be: then nobody may know it.
            if row is not None:
                findings.add(Fault.STALE, SINK, f"document {node}, which came after its container was gone")
        elif row is None:
            findings.add(Fault.LOST, SINK, f"document {node}")
        elif row["workspace"] != document.workspace:
            findings.add(Fault.CROSSED, SINK, f"document {node} stands in {row['workspace']}")
        elif head is not None and (row["version"], row["deleted"]) != (head.version, head.deleted):
            findings.add(Fault.STALE, SINK, f"document {node}: version {row['version']}, wanted {head}")


def wanted_edges(world: World) -> dict[str, set[Edge]]:
    """Return the edges that the model's documents state, by kind."""
    edges: dict[str, set[Edge]] = {"statement": set(), "relation": set(), "link": set()}
    for document in world.documents.values():
        workspace, node = document.workspace, document_node_id(document.workspace, document.document_id)
        edges["statement"] |= {(node, node_id(workspace, key)) for key in document.states}
        edges["relation"] |= {
            (node, node_id(workspace, subject), predicate, node_id(workspace, object_))
            for subject, predicate, object_ in document.relations
        }
        edges["link"] |= {(node, place) for url in document.pages if (place := place_of(workspace, url))}
    return edges


def judge_edges(kind: str, held: Counter[Edge], wanted: set[Edge], findings: Findings) -> None:
    """Compare the edges of one kind with those wanted."""
    for edge in wanted - held.keys():
        findings.add(Fault.LOST, SINK, f"{kind} {edge}")
    for edge in held.keys() - wanted:
        crossed = len({part.partition("/")[0] for part in edge if "/" in part}) > 1
        findings.add(Fault.CROSSED if crossed else Fault.STALE, SINK, f"{kind} {edge}")
    for edge in (edge for edge, count in held.items() if count > 1):
        findings.add(Fault.DUPLICATED, SINK, f"{kind} {edge}, {held[edge]} times")
