"""Writing points: versions, partial updates, payloads, and that a refused request has written nothing."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from infra.errors import Permanent
from infra.qdrant.client import translating
from schemas.dead_letters import Reason

E1, E2 = [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]


def point(
    identity: int | str, version: int = 1, vector: dict[str, Any] | None = None, **payload: Any
) -> models.PointStruct:
    content = {"version": version, **payload}
    return models.PointStruct(id=identity, vector={"dense": E1} if vector is None else vector, payload=content)


def older_than(version: int) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key="version", range=models.Range(lt=version))])


async def payloads(client: AsyncQdrantClient, collection: str, *ids: int | str) -> dict[Any, Any]:
    return {found.id: found.payload for found in await client.retrieve(collection, list(ids))}


async def test_a_point_comes_back_as_it_went_in(client: AsyncQdrantClient, collection: str) -> None:
    identity = str(uuid4())
    sparse = models.SparseVector(indices=[9, 2], values=[0.5, 2])
    content = {"text": "naïve \u2603", "n": 2**53, "f": 1.5, "none": None, "yes": True, "list": [1, {"a": []}], "o": {}}
    await client.upsert(
        collection, [models.PointStruct(id=identity, vector={"dense": E1, "sparse": sparse}, payload=content)]
    )
    (found,) = await client.retrieve(collection, [identity], with_vectors=True)
    assert (found.id, found.payload) == (identity, content)
    assert isinstance(found.vector, dict)
    assert found.vector["dense"] == E1
    kept = found.vector["sparse"]
    assert isinstance(kept, models.SparseVector)
    assert dict(zip(kept.indices, kept.values, strict=True)) == {9: 0.5, 2: 2}


async def test_ids_are_integers_or_uuids_in_any_spelling(client: AsyncQdrantClient, collection: str) -> None:
    plain = uuid4()
    await client.upsert(collection, [point(2**63), point(plain.hex)])
    found = await client.retrieve(collection, [2**63, str(plain)])
    assert {each.id for each in found} == {2**63, str(plain)}
    assert UUID(str(plain)) == plain


async def test_a_point_without_vectors_is_stored_filtered_and_never_found_by_search(
    client: AsyncQdrantClient, collection: str
) -> None:
    await client.upsert(collection, [point(1, part="head", vector={}), point(2, part="chunk")])
    head = models.Filter(must=[models.FieldCondition(key="part", match=models.MatchValue(value="head"))])
    points, _ = await client.scroll(collection, scroll_filter=head, with_vectors=True)
    assert [(found.id, found.vector) for found in points] == [(1, {})]
    assert (await client.count(collection, count_filter=head)).count == 1
    assert (await client.query_points(collection, query=E1, using="dense", query_filter=head)).points == []
    hits = (await client.query_points(collection, query=E1, using="dense")).points
    assert [hit.id for hit in hits] == [2]
    words = models.SparseVector(indices=[1], values=[1])
    assert (await client.query_points(collection, query=words, using="sparse")).points == []


async def test_a_conditional_upsert_replaces_only_older_versions(client: AsyncQdrantClient, collection: str) -> None:
    await client.upsert(collection, [point(1, version=5, text="five"), point(2, version=2, text="two")])
    await client.upsert(
        collection, [point(1, version=4, text="four"), point(2, version=4, text="four")], update_filter=older_than(4)
    )
    found = await payloads(client, collection, 1, 2)
    assert (found[1]["text"], found[2]["text"]) == ("five", "four")


async def test_a_conditional_upsert_guards_points_without_vectors(client: AsyncQdrantClient, collection: str) -> None:
    await client.upsert(collection, [point(1, version=5, vector={})])
    await client.upsert(collection, [point(1, version=3, vector={})], update_filter=older_than(3))
    assert (await payloads(client, collection, 1))[1]["version"] == 5
    await client.upsert(collection, [point(1, version=6, vector={})], update_filter=older_than(6))
    assert (await payloads(client, collection, 1))[1]["version"] == 6


async def test_a_conditional_upsert_inserts_new_ids_whatever_the_filter(
    client: AsyncQdrantClient, collection: str
) -> None:
    await client.upsert(collection, [point(1, version=1)], update_filter=older_than(0))
    assert 1 in await payloads(client, collection, 1)


async def test_an_upsert_replaces_the_whole_point(client: AsyncQdrantClient, collection: str) -> None:
    await client.upsert(collection, [point(1, vector={"dense": E1}, old=1)])
    await client.upsert(collection, [point(1, vector={"sparse": models.SparseVector(indices=[3], values=[1])}, new=1)])
    (found,) = await client.retrieve(collection, [1], with_vectors=True)
    assert found.payload == {"version": 1, "new": 1}
    assert isinstance(found.vector, dict)
    assert set(found.vector) == {"sparse"}


async def test_the_last_of_two_points_with_one_id_wins(client: AsyncQdrantClient, collection: str) -> None:
    await client.upsert(collection, [point(1, text="a"), point(1, text="b")])
    assert (await payloads(client, collection, 1))[1]["text"] == "b"
    assert (await client.count(collection)).count == 1


async def test_a_columnar_batch_is_the_same_as_points(client: AsyncQdrantClient, collection: str) -> None:
    await client.upsert(
        collection, models.Batch(ids=[1, 2], vectors={"dense": [E1, E2]}, payloads=[{"a": 1}, {"a": 2}])
    )
    assert await payloads(client, collection, 1, 2) == {1: {"a": 1}, 2: {"a": 2}}
    assert [hit.id for hit in (await client.query_points(collection, query=E2, using="dense", limit=1)).points] == [2]


async def test_deleting_by_id_and_by_filter(client: AsyncQdrantClient, collection: str) -> None:
    await client.upsert(collection, [point(n, version=n) for n in range(1, 6)])
    await client.delete(collection, [1, 99])
    await client.delete(collection, models.FilterSelector(filter=older_than(4)))
    assert set(await payloads(client, collection, 1, 2, 3, 4, 5)) == {4, 5}


async def test_a_stale_upsert_after_a_delete_brings_the_point_back(client: AsyncQdrantClient, collection: str) -> None:
    """Why tombstones are points of their own: the store does not remember what it deleted."""
    await client.upsert(collection, [point(1, version=5)])
    await client.delete(collection, [1])
    await client.upsert(collection, [point(1, version=3)], update_filter=older_than(3))
    assert (await payloads(client, collection, 1))[1]["version"] == 3


async def test_payloads_are_set_overwritten_deleted_and_cleared(client: AsyncQdrantClient, collection: str) -> None:
    await client.upsert(collection, [point(n, a=1) for n in (1, 2, 3, 4)])
    await client.set_payload(collection, {"b": 2}, points=[1])
    await client.overwrite_payload(collection, {"c": 3}, points=[2])
    await client.delete_payload(collection, ["a"], points=[3])
    await client.clear_payload(collection, [4])
    assert await payloads(client, collection, 1, 2, 3, 4) == {
        1: {"version": 1, "a": 1, "b": 2},
        2: {"c": 3},
        3: {"version": 1},
        4: {},
    }


async def test_payloads_change_by_filter_and_under_a_key(client: AsyncQdrantClient, collection: str) -> None:
    await client.upsert(collection, [point(1, version=1, meta={"x": 1}), point(2, version=9, meta={"x": 1})])
    await client.set_payload(collection, {"y": 2}, points=older_than(5), key="meta")
    await client.delete_payload(collection, ["meta.x"], points=older_than(5))
    found = await payloads(client, collection, 1, 2)
    assert (found[1]["meta"], found[2]["meta"]) == ({"y": 2}, {"x": 1})


async def test_everything_can_be_done_by_filter(client: AsyncQdrantClient, collection: str) -> None:
    await client.upsert(collection, [point(n, version=n, a=1) for n in (1, 2, 3, 4)])
    await client.overwrite_payload(collection, {"version": 2, "b": 1}, points=older_than(3))
    await client.delete_vectors(collection, ["dense"], older_than(3))
    assert await payloads(client, collection, 1, 3) == {1: {"version": 2, "b": 1}, 3: {"version": 3, "a": 1}}
    hits = (await client.query_points(collection, query=E1, using="dense")).points
    assert {hit.id for hit in hits} == {3, 4}
    await client.clear_payload(collection, older_than(3))
    assert await payloads(client, collection, 1, 4) == {1: {}, 4: {"version": 4, "a": 1}}


async def test_a_conditional_vector_update(client: AsyncQdrantClient, collection: str) -> None:
    await client.upsert(collection, [point(1, version=1), point(2, version=9)])
    change = [models.PointVectors(id=n, vector={"dense": E2}) for n in (1, 2)]
    await client.update_vectors(collection, change, update_filter=older_than(5))
    found = {each.id: each.vector for each in await client.retrieve(collection, [1, 2], with_vectors=True)}
    assert found == {1: {"dense": E2}, 2: {"dense": E1}}


async def test_vectors_are_updated_and_deleted_alone(client: AsyncQdrantClient, collection: str) -> None:
    await client.upsert(collection, [point(1, text="kept")])
    await client.update_vectors(collection, [models.PointVectors(id=1, vector={"dense": E2})])
    (found,) = await client.retrieve(collection, [1], with_vectors=True)
    assert (found.vector, found.payload) == ({"dense": E2}, {"version": 1, "text": "kept"})
    await client.delete_vectors(collection, ["dense"], [1])
    (found,) = await client.retrieve(collection, [1], with_vectors=True)
    assert (found.vector, found.payload) == ({}, {"version": 1, "text": "kept"})
    assert (await client.query_points(collection, query=E2, using="dense")).points == []


async def test_a_batch_of_operations_is_applied_in_order(client: AsyncQdrantClient, collection: str) -> None:
    results = await client.batch_update_points(
        collection,
        [
            models.UpsertOperation(upsert=models.PointsList(points=[point(1), point(2), point(3)])),
            models.SetPayloadOperation(set_payload=models.SetPayload(payload={"seen": True}, points=[1, 2])),
            models.DeleteOperation(delete=models.PointIdsList(points=[2])),
            models.DeletePayloadOperation(delete_payload=models.DeletePayload(keys=["version"], points=[1])),
        ],
    )
    assert [result.status for result in results] == [models.UpdateStatus.COMPLETED] * 4
    assert await payloads(client, collection, 1, 2, 3) == {1: {"seen": True}, 3: {"version": 1}}


async def test_a_write_that_does_not_wait_is_visible_soon(client: AsyncQdrantClient, collection: str) -> None:
    result = await client.upsert(collection, [point(1)], wait=False)
    assert result.status == models.UpdateStatus.ACKNOWLEDGED
    await client.upsert(collection, [point(2)], wait=True)
    assert set(await payloads(client, collection, 1, 2)) == {1, 2}


@pytest.mark.parametrize("change", ["set_payload", "update_vectors"])
async def test_changing_a_missing_point_is_refused(client: AsyncQdrantClient, collection: str, change: str) -> None:
    await client.upsert(collection, [point(1)])
    calls = {
        "set_payload": lambda: client.set_payload(collection, {"a": 1}, points=[1, 77]),
        "update_vectors": lambda: client.update_vectors(collection, [models.PointVectors(id=77, vector={"dense": E1})]),
    }
    with pytest.raises(Permanent) as refused, translating():
        await calls[change]()
    assert "404" in refused.value.detail
    assert (await client.count(collection)).count == 1


@pytest.mark.parametrize(
    ("vector", "reason"),
    [
        ({"dense": [1.0, 0.0, 0.0]}, Reason.INVALID_VECTOR),
        ({"dense": [1.0] * 5}, Reason.INVALID_VECTOR),
        ({"unknown": E1}, Reason.INVALID_VECTOR),
        ({"dense": [float("nan"), 0.0, 0.0, 0.0]}, None),
        ({"sparse": models.SparseVector(indices=[1, 1], values=[1, 2])}, None),
        ({"sparse": models.SparseVector(indices=[1, 2], values=[1])}, None),
    ],
    ids=["short", "long", "unknown name", "not a number", "repeated index", "uneven"],
)
async def test_one_bad_vector_refuses_the_whole_upsert(
    client: AsyncQdrantClient, collection: str, vector: dict[str, Any], reason: Reason | None
) -> None:
    with pytest.raises(Permanent) as refused, translating():
        await client.upsert(collection, [point(1), point(2, vector=vector), point(3)])
    assert reason is None or refused.value.reason is reason
    assert (await client.count(collection)).count == 0


@pytest.mark.parametrize("identity", ["not-a-uuid", -1], ids=str)
async def test_a_bad_id_refuses_the_whole_upsert(client: AsyncQdrantClient, collection: str, identity: Any) -> None:
    bad = models.PointStruct.model_construct(id=identity, vector={"dense": E1}, payload={})
    with pytest.raises(UnexpectedResponse) as refused:
        await client.http.points_api.upsert_points(
            collection, point_insert_operations=models.PointsList.model_construct(points=[point(1), bad])
        )
    assert refused.value.status_code == 400
    assert (await client.count(collection)).count == 0


async def test_an_empty_upsert_is_refused(client: AsyncQdrantClient, collection: str) -> None:
    with pytest.raises(UnexpectedResponse) as refused:
        await client.upsert(collection, [])
    assert refused.value.status_code in (400, 422)
