"""What the graph holds of documents: their nodes, and how many relations each states."""

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from infra.neo4j.client import GraphDriver
from infra.neo4j.schema import document_node_id
from infra.reconcile.states import Held

_HELD = """
UNWIND $ids AS id
MATCH (d:Document {id: id})
RETURN d.document AS document, d.version AS version, coalesce(d.deleted, false) AS deleted,
       COUNT { ()-[:RELATED {document: id}]->() } AS relations
"""
# A range of the unique index, in its own order: pages cost the same wherever they are.
_PAGE = """
MATCH (d:Document) WHERE d.id > $after AND d.id < $end
RETURN d.id AS id ORDER BY d.id LIMIT $limit
"""


class GraphHeld:
    """Reads the graph. Raises Transient."""

    def __init__(self, graph: GraphDriver) -> None:
        self._graph = graph

    async def read(self, workspace: str, documents: Sequence[UUID]) -> dict[UUID, Held]:
        """Return what is held of documents; one without a node is left out."""
        ids = [document_node_id(workspace, document) for document in documents]
        rows = await self._graph.read(_HELD, {"ids": ids})
        return {
            UUID(row["document"]): Held(row["version"], row["deleted"], row["relations"], row["relations"])
            for row in rows
            if row["document"]
        }

    async def documents(self, workspace: str, size: int) -> AsyncIterator[list[UUID]]:
        """Yield every document that has a node, `size` at a time."""
        after = f"{workspace}/"
        while rows := await self._graph.read(_PAGE, {"after": after, "end": f"{workspace}0", "limit": size}):
            yield [UUID(row["id"].partition("/")[2]) for row in rows]
            after = rows[-1]["id"]
