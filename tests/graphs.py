"""A look at a whole workspace of the graph, for comparing the outcome of two histories."""

from infra.neo4j.client import GraphDriver

_NODES = """
MATCH (n) WHERE n.id STARTS WITH $prefix
RETURN labels(n)[0] AS label, properties(n) AS properties
"""
_EDGES = """
MATCH (a)-[r]->(b) WHERE a.id STARTS WITH $prefix OR b.id STARTS WITH $prefix
RETURN a.id AS start, type(r) AS type, properties(r) AS properties, b.id AS end
"""


async def digest(graph: GraphDriver, workspace: str) -> list[str]:
    """Return every node and edge of `workspace`, sorted, with the workspace's name taken out."""
    parameters = {"prefix": f"{workspace}/"}
    nodes = await graph.read(_NODES, parameters)
    edges = await graph.read(_EDGES, parameters)
    for node in nodes:
        node["properties"].pop("lock", None)
    lines = [repr(sorted((name, _plain(value)) for name, value in row.items())) for row in (*nodes, *edges)]
    return sorted(line.replace(workspace, "W") for line in lines)


def _plain(value: object) -> object:
    return sorted(value.items()) if isinstance(value, dict) else value
