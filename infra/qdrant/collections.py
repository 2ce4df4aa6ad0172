"""Collections of an index: made once whoever comes first, and the alias that readers follow."""

from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from infra.errors import Permanent
from infra.qdrant.client import translating
from infra.qdrant.points import DENSE, SPARSE, Key
from schemas.dead_letters import Reason

_CONFLICT = 409

INDEXES: dict[str, models.PayloadSchemaType | models.KeywordIndexParams] = {
    # every read filters by workspace: a server lays the points of one tenant side by side
    Key.WORKSPACE: models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
    Key.DOCUMENT: models.PayloadSchemaType.KEYWORD,
    Key.VERSION: models.PayloadSchemaType.INTEGER,
    Key.PART: models.PayloadSchemaType.KEYWORD,
    Key.SOURCE: models.PayloadSchemaType.KEYWORD,
    Key.KIND: models.PayloadSchemaType.KEYWORD,
    Key.CONNECTOR: models.PayloadSchemaType.KEYWORD,
    Key.LANGUAGE: models.PayloadSchemaType.KEYWORD,
    Key.AUTHORS: models.PayloadSchemaType.KEYWORD,
    Key.UPDATED_AT: models.PayloadSchemaType.FLOAT,
}
"""Payload fields that filters name, with their index."""


async def ensure_collection(client: AsyncQdrantClient, name: str, dimension: int) -> None:
    """Make a collection with vectors `dense` (cosine, `dimension`) and `sparse` (IDF) and its payload indexes.

    Callers may race and call again: what exists is left as it is. Raises Transient, and Permanent if a collection of
    this name holds dense vectors of another size.
    """
    with translating():
        if not await client.collection_exists(name):
            await _create(client, name, dimension)
        info = await client.get_collection(name)
    _check(info, name, dimension)
    missing = [field for field in INDEXES if field not in info.payload_schema]
    with translating():
        for field in missing:
            await client.create_payload_index(name, field, INDEXES[field], wait=True)


async def _create(client: AsyncQdrantClient, name: str, dimension: int) -> None:
    try:
        await client.create_collection(
            name,
            vectors_config={DENSE: models.VectorParams(size=dimension, distance=models.Distance.COSINE)},
            sparse_vectors_config={SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)},
        )
    except UnexpectedResponse as error:
        # another caller was first: whether it made the same is checked on what is there
        if error.status_code != _CONFLICT:
            raise


def _check(info: models.CollectionInfo, name: str, dimension: int) -> None:
    vectors, sparse = info.config.params.vectors, info.config.params.sparse_vectors
    found = vectors.get(DENSE) if isinstance(vectors, dict) else None
    if found is None or found.size != dimension or found.distance != models.Distance.COSINE:
        held = f"{found.size} {found.distance}" if found else "nothing"
        detail = f"collection {name} holds {held} as `{DENSE}`, wanted {dimension} cosine"
        raise Permanent(Reason.REFUSED_BY_SINK, detail)
    if SPARSE not in (sparse or {}):
        raise Permanent(Reason.REFUSED_BY_SINK, f"collection {name} has no vector `{SPARSE}`")


async def point_alias(client: AsyncQdrantClient, alias: str, collection: str) -> None:
    """Make `alias` stand for `collection`, in one step for readers; it need not exist yet. Raises Transient, Permanent.

    Both actions travel in one request, which Qdrant applies as one: no reader finds the alias missing.
    """
    actions: list[models.AliasOperations] = [
        models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)),
        models.CreateAliasOperation(create_alias=models.CreateAlias(alias_name=alias, collection_name=collection)),
    ]
    with translating():
        await client.update_collection_aliases(change_aliases_operations=actions)


async def aliased(client: AsyncQdrantClient, alias: str) -> str | None:
    """Return the collection that an alias stands for, None if there is no such alias. Raises Transient, Permanent."""
    with translating():
        found = await client.get_aliases()
    return next((entry.collection_name for entry in found.aliases if entry.alias_name == alias), None)
