"""What the graph is made of: labels, identity, constraints. Model and reasons: docs/decisions/0007-graph-model.md.

Community edition has no composite node keys, so each node's identity is one property `id` that begins with the
workspace: equal names of two workspaces are different nodes.
"""

from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from infra.errors import Transient
from infra.neo4j.client import GraphDriver
from infra.telemetry.logs import logger

if TYPE_CHECKING:
    from neo4j import AsyncTransaction

log = logger(__name__)

NAME_LIMIT = 500
"""Characters of an indexed name: Neo4j refuses an index entry over about 8 kB."""

KEY_LIMIT = 1_000
"""Characters of an entity key or a URL inside an `id`; a longer key is replaced by its hash."""

DOCUMENT_PREFIX = "document:"
"""`document:<uuid>` addresses a document where an entity key is asked for."""

_CONSTRAINTS = {"document_id": "Document", "entity_id": "Entity", "page_id": "Page"}
"""Labels whose `id` is unique, by the name of the constraint."""

_INDEXES = (
    "CREATE INDEX document_place IF NOT EXISTS FOR (d:Document) ON (d.place)",
    "CREATE INDEX entity_place IF NOT EXISTS FOR (e:Entity) ON (e.place)",
    "CREATE INDEX entity_kind IF NOT EXISTS FOR (e:Entity) ON (e.workspace, e.kind)",
    "CREATE INDEX entity_name IF NOT EXISTS FOR (e:Entity) ON (e.workspace, e.folded)",
    "CREATE INDEX entity_tail IF NOT EXISTS FOR (e:Entity) ON (e.workspace, e.tail)",
    # Without it, replacing one document's relations would read all relations of a repository with 100,000 issues.
    "CREATE INDEX related_document IF NOT EXISTS FOR ()-[r:RELATED]-() ON (r.document)",
)


_TAKEN = frozenset({"Neo.ClientError.Schema.IndexWithNameAlreadyExists", "Neo.ClientError.Schema.IndexAlreadyExists"})
_OWNED = "Neo.DatabaseError.Schema.IndexDropFailed"


async def ensure(graph: GraphDriver) -> None:
    """Create the constraints and indexes that are missing and wait until they serve. Any number may run at once.

    Raises Transient if Neo4j cannot be reached.
    """
    for name, label in _CONSTRAINTS.items():
        statement = f"CREATE CONSTRAINT {name} IF NOT EXISTS FOR (n:{label}) REQUIRE n.id IS UNIQUE"
        try:
            await _run(graph, statement)
        except Transient as error:
            if error.detail not in _TAKEN:
                raise
            await _drop_left_over(graph, name, label)
            await _run(graph, statement)
    for statement in _INDEXES:
        await _run(graph, statement)
    await graph.read("CALL db.awaitIndexes(60)", {})


async def _run(graph: GraphDriver, statement: str) -> None:
    async def work(transaction: "AsyncTransaction") -> None:
        await (await transaction.run(statement)).consume()

    await graph.write(work)


async def _drop_left_over(graph: GraphDriver, name: str, label: str) -> None:
    """Drop the index of a constraint that does not exist: Neo4j makes the index first, and one that is killed between
    the two keeps it, and then refuses the constraint for ever because of it.

    Where another process makes the constraint just now, dropping waits for that, and is refused then.
    """
    left = """SHOW INDEXES YIELD name, owningConstraint, labelsOrTypes, properties
              WHERE name = $name AND owningConstraint IS NULL AND labelsOrTypes = [$label] AND properties = ['id']
              RETURN name"""
    if await graph.read(left, {"name": name, "label": label}):
        log.warning("an index without its constraint is left of a crash, and made anew", index=name)
        try:
            await _run(graph, f"DROP INDEX {name} IF EXISTS")
        except Transient as error:
            # Another process has dropped it and made the constraint meanwhile: this index is the constraint's own.
            if error.detail != _OWNED:
                raise


def node_id(workspace: str, key: str) -> str:
    """Return the `id` of an entity: workspace, a slash (which no workspace name holds), key."""
    return f"{workspace}/{key if len(key) <= KEY_LIMIT else 'sha256:' + sha256(key.encode()).hexdigest()}"


def document_node_id(workspace: str, document: UUID) -> str:
    """Return the `id` of a document's node."""
    return f"{workspace}/{document}"


def place_of(workspace: str, url: str) -> str | None:
    """Return the `id` of the page at `url`, None for what is no address of a page on the web.

    Two spellings of one address meet: scheme and host in lower case, no default port, no trailing slash (RFC 3986,
    6.2.2.1 and 6.2.3). The fragment stays: it tells a comment from the issue it stands under.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        return None
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname or len(url) > KEY_LIMIT:
        return None
    default = port is None or (parts.scheme.lower(), port) in {("http", 80), ("https", 443)}
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    host = name if default else f"{name}:{port}"
    path = parts.path.rstrip("/")
    return f"{workspace}/{urlunsplit((parts.scheme.lower(), host, path, parts.query, parts.fragment))}"


def fold(name: str) -> str:
    """Return `name` as compared without regard to case, cut to what an index takes."""
    return " ".join(name.casefold().split())[:NAME_LIMIT]


def tail_of(key: str) -> str:
    """Return the source's own id in `kind:scheme:id`, folded: `octocat` of `person:github:octocat`."""
    return fold(key.split(":", 2)[-1])
