"""Collections, aliases and payload indexes: the same on the local door and on a real server."""

import asyncio

import pytest
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from infra.errors import Permanent, Transient
from infra.qdrant.client import translating
from infra.qdrant.collections import INDEXES, aliased, ensure_collection, point_alias

DENSE = {"dense": models.VectorParams(size=4, distance=models.Distance.COSINE)}


async def test_a_collection_shows_what_it_was_made_with(client: AsyncQdrantClient, collection: str) -> None:
    info = await client.get_collection(collection)
    vectors, sparse = info.config.params.vectors, info.config.params.sparse_vectors
    assert isinstance(vectors, dict)
    assert sparse is not None
    assert (vectors["dense"].size, vectors["dense"].distance) == (4, models.Distance.COSINE)
    assert sparse["sparse"].modifier == models.Modifier.IDF
    assert (info.points_count, info.status) == (0, models.CollectionStatus.GREEN)


async def test_a_collection_exists_from_creation_to_deletion(client: AsyncQdrantClient, fresh: str) -> None:
    assert not await client.collection_exists(fresh)
    await client.create_collection(fresh, vectors_config=DENSE)
    assert await client.collection_exists(fresh)
    assert fresh in [each.name for each in (await client.get_collections()).collections]
    assert await client.delete_collection(fresh)
    assert not await client.collection_exists(fresh)
    assert fresh not in [each.name for each in (await client.get_collections()).collections]


async def test_a_taken_name_is_a_conflict(client: AsyncQdrantClient, collection: str) -> None:
    with pytest.raises(UnexpectedResponse) as refused:
        await client.create_collection(collection, vectors_config=DENSE)
    assert refused.value.status_code == 409


async def test_a_deleted_name_can_be_used_again_and_is_empty(client: AsyncQdrantClient, collection: str) -> None:
    await client.upsert(collection, [models.PointStruct(id=1, vector={"dense": [1, 0, 0, 0]}, payload={})])
    await client.delete_collection(collection)
    await client.create_collection(collection, vectors_config=DENSE)
    assert (await client.count(collection)).count == 0


async def test_an_unnamed_vector_is_a_plain_list(client: AsyncQdrantClient, fresh: str) -> None:
    await client.create_collection(fresh, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    await client.upsert(fresh, [models.PointStruct(id=1, vector=[3, 4], payload={})])
    (point,) = await client.retrieve(fresh, [1], with_vectors=True)
    assert point.vector == [3, 4]
    (hit,) = (await client.query_points(fresh, query=[1.0, 1.0])).points
    assert hit.score == 7


@pytest.mark.parametrize(("kind", "score"), [("COSINE", 0.6), ("DOT", 3), ("EUCLID", 20**0.5), ("MANHATTAN", 6)])
async def test_each_distance_scores_as_defined(client: AsyncQdrantClient, fresh: str, kind: str, score: float) -> None:
    config = models.VectorParams(size=2, distance=models.Distance[kind])
    await client.create_collection(fresh, vectors_config={"dense": config})
    await client.upsert(fresh, [models.PointStruct(id=1, vector={"dense": [3, 4]}, payload={})])
    (hit,) = (await client.query_points(fresh, query=[1.0, 0.0], using="dense")).points
    assert hit.score == pytest.approx(score, rel=1e-5)


@pytest.mark.parametrize("size", [0, 65_537])
async def test_an_impossible_dimension_is_refused(client: AsyncQdrantClient, fresh: str, size: int) -> None:
    config = models.VectorParams(size=size, distance=models.Distance.COSINE)
    with pytest.raises(UnexpectedResponse) as refused:
        await client.create_collection(fresh, vectors_config=config)
    assert refused.value.status_code in (400, 422)
    assert not await client.collection_exists(fresh)


async def test_metadata_is_merged_and_a_null_removes(client: AsyncQdrantClient, fresh: str) -> None:
    await client.create_collection(fresh, vectors_config=DENSE, metadata={"model": "minilm", "old": 1})
    await client.update_collection(fresh, metadata={"built": "now", "old": None})
    assert (await client.get_collection(fresh)).config.metadata == {"model": "minilm", "built": "now"}


async def test_a_missing_collection_is_not_found(client: AsyncQdrantClient) -> None:
    with pytest.raises(UnexpectedResponse) as refused:
        await client.count("no-such-collection")
    assert refused.value.status_code == 404
    with pytest.raises(Transient), translating():
        await client.get_collection("no-such-collection")


# --- ensure_collection ----------------------------------------------------------------------------------------------


async def test_ensure_collection_makes_vectors_and_indexes(client: AsyncQdrantClient, fresh: str) -> None:
    await ensure_collection(client, fresh, 8)
    schema = (await client.get_collection(fresh)).payload_schema
    assert schema.keys() == INDEXES.keys()
    assert schema["workspace"].data_type == models.PayloadSchemaType.KEYWORD
    assert schema["version"].data_type == models.PayloadSchemaType.INTEGER
    assert schema["updated_at"].data_type == models.PayloadSchemaType.FLOAT
    params = schema["workspace"].params
    assert isinstance(params, models.KeywordIndexParams)
    assert params.is_tenant is True


async def test_ensure_collection_can_be_raced_and_repeated(client: AsyncQdrantClient, fresh: str) -> None:
    # open connections first, so that the callers really meet
    await asyncio.gather(*(client.get_collections() for _ in range(12)))
    await asyncio.gather(*(ensure_collection(client, fresh, 8) for _ in range(12)))
    await client.upsert(fresh, [models.PointStruct(id=1, vector={}, payload={"version": 1})])
    await ensure_collection(client, fresh, 8)
    assert (await client.count(fresh)).count == 1


async def test_ensure_collection_refuses_another_dimension(client: AsyncQdrantClient, fresh: str) -> None:
    await ensure_collection(client, fresh, 8)
    with pytest.raises(Permanent, match="wanted 16 cosine"):
        await ensure_collection(client, fresh, 16)


async def test_ensure_collection_refuses_a_stranger(client: AsyncQdrantClient, fresh: str) -> None:
    await client.create_collection(fresh, vectors_config=DENSE)
    with pytest.raises(Permanent, match="no vector `sparse`"):
        await ensure_collection(client, fresh, 4)


# --- aliases --------------------------------------------------------------------------------------------------------


async def test_an_alias_reads_and_writes_its_collection(client: AsyncQdrantClient, collection: str) -> None:
    alias = f"{collection}-live"
    await point_alias(client, alias, collection)
    await client.upsert(alias, [models.PointStruct(id=1, vector={}, payload={"a": 1})])
    assert (await client.count(collection)).count == 1
    assert await client.collection_exists(alias)
    assert (await client.get_collection(alias)).points_count == 1
    assert await aliased(client, alias) == collection
    listed = (await client.get_collection_aliases(collection)).aliases
    assert [(each.alias_name, each.collection_name) for each in listed] == [(alias, collection)]


async def test_an_alias_switches_without_a_gap(client: AsyncQdrantClient, collection: str) -> None:
    alias, other = f"{collection}-live", f"{collection}-b"
    await client.create_collection(other, vectors_config=DENSE)
    await client.upsert(other, [models.PointStruct(id=1, vector={}, payload={})])
    await point_alias(client, alias, collection)
    seen: set[int] = set()
    switched = asyncio.Event()

    async def read() -> None:
        while not switched.is_set() or 1 not in seen:
            seen.add((await client.count(alias)).count)

    readers = asyncio.gather(*(read() for _ in range(3)))
    for target in (other, collection, other):
        await point_alias(client, alias, target)
    switched.set()
    await readers
    assert seen <= {0, 1}
    assert await aliased(client, alias) == other
    await client.delete_collection(other)


async def test_an_alias_can_be_renamed_and_removed(client: AsyncQdrantClient, collection: str) -> None:
    old, new = f"{collection}-old", f"{collection}-new"
    await point_alias(client, old, collection)
    rename = models.RenameAlias(old_alias_name=old, new_alias_name=new)
    await client.update_collection_aliases([models.RenameAliasOperation(rename_alias=rename)])
    assert (await aliased(client, old), await aliased(client, new)) == (None, collection)
    delete = models.DeleteAlias(alias_name=new)
    await client.update_collection_aliases([models.DeleteAliasOperation(delete_alias=delete)])
    assert await aliased(client, new) is None
    assert await client.collection_exists(collection)


async def test_an_alias_needs_a_collection(client: AsyncQdrantClient, fresh: str) -> None:
    with pytest.raises((Transient, Permanent)):
        await point_alias(client, f"{fresh}-live", fresh)
    assert await aliased(client, f"{fresh}-live") is None


async def test_an_alias_may_not_hide_a_collection(client: AsyncQdrantClient, collection: str) -> None:
    with pytest.raises(Permanent):
        await point_alias(client, collection, collection)


async def test_aliases_go_with_their_collection(client: AsyncQdrantClient, collection: str) -> None:
    await point_alias(client, f"{collection}-live", collection)
    await client.delete_collection(collection)
    assert await aliased(client, f"{collection}-live") is None


# --- payload indexes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["keyword", "integer", "float", "bool", "datetime", "uuid", "text"])
async def test_a_payload_index_is_made_shown_and_removed(client: AsyncQdrantClient, collection: str, kind: str) -> None:
    for _ in range(2):
        await client.create_payload_index(collection, "meta.field", models.PayloadSchemaType(kind))
    schema = (await client.get_collection(collection)).payload_schema
    assert {name: info.data_type.value for name, info in schema.items()} == {"meta.field": kind}
    await client.delete_payload_index(collection, "meta.field")
    assert (await client.get_collection(collection)).payload_schema == {}


async def test_a_text_index_keeps_its_parameters(client: AsyncQdrantClient, collection: str) -> None:
    params = models.TextIndexParams(
        type=models.TextIndexType.TEXT, tokenizer=models.TokenizerType.WORD, min_token_len=2, lowercase=True
    )
    await client.create_payload_index(collection, "text", params)
    shown = (await client.get_collection(collection)).payload_schema["text"].params
    assert isinstance(shown, models.TextIndexParams)
    assert (shown.tokenizer, shown.min_token_len, shown.lowercase) == (models.TokenizerType.WORD, 2, True)
    await client.upsert(
        collection,
        [
            models.PointStruct(id=1, vector={}, payload={"text": "The Mill turns"}),
            models.PointStruct(id=2, vector={}, payload={"text": "Windmills"}),
        ],
    )
    words = models.Filter(must=[models.FieldCondition(key="text", match=models.MatchText(text="mill"))])
    assert [point.id for point in (await client.scroll(collection, scroll_filter=words))[0]] == [1]
