"""What is the local door's own: who may come in, what it refuses and how it says so."""

import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.live.qdrant.doors import KEY, Door

LIMIT = 100_000
C = "/collections/c"
VECTORS = {"dense": {"size": 2, "distance": "Cosine"}}


@pytest_asyncio.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    door = Door(tmp_path_factory.mktemp("own") / "root", MILLRACE_DOOR_MAX_BODY=str(LIMIT))
    await door.start()
    yield door
    await door.kill(signal.SIGTERM)


@pytest_asyncio.fixture(scope="module")
async def http(door: Door) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=door.url, headers={"api-key": KEY}) as client:
        made = await client.put(C, json={"vectors": VECTORS, "sparse_vectors": {"sparse": {"modifier": "idf"}}})
        assert made.status_code == 200
        yield client


def error_of(response: httpx.Response) -> str:
    message: str = response.json()["status"]["error"]
    return message


@pytest.mark.parametrize("headers", [{}, {"api-key": "wrong"}, {"api-key": KEY[:-1]}, {"authorization": "Bearer no"}])
async def test_without_the_key_nobody_comes_in(door: Door, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=door.url, headers=headers) as stranger:
        for method, path in (("GET", "/collections"), ("PUT", C), ("GET", "/nowhere")):
            response = await stranger.request(method, path)
            assert response.status_code == 401
            assert "key" in error_of(response)


async def test_the_key_also_travels_as_a_bearer_token(door: Door) -> None:
    async with httpx.AsyncClient(base_url=door.url, headers={"authorization": f"Bearer {KEY}"}) as client:
        assert (await client.get("/collections")).status_code == 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/livez", "/readyz"])
async def test_health_needs_no_key(door: Door, path: str) -> None:
    async with httpx.AsyncClient(base_url=door.url) as stranger:
        assert (await stranger.get(path)).status_code == 200


async def test_the_version_satisfies_the_client(http: httpx.AsyncClient) -> None:
    from importlib.metadata import version

    from qdrant_client.common.version_check import is_compatible

    assert is_compatible(version("qdrant-client"), (await http.get("/")).json()["version"])


def _stream(size: int) -> Iterator[bytes]:
    for _ in range(size // 1000):
        yield b" " * 1000


async def test_a_body_over_the_limit_is_refused_with_the_limit(http: httpx.AsyncClient) -> None:
    declared = await http.put(f"{C}/points", content=b" " * (LIMIT + 1))
    assert declared.status_code == 413
    assert str(LIMIT) in error_of(declared)

    async def undeclared() -> AsyncIterator[bytes]:
        for chunk in _stream(LIMIT * 2):
            yield chunk

    streamed = await http.put(f"{C}/points", content=undeclared())
    assert streamed.status_code == 413


UNSUPPORTED: dict[str, tuple[str, str, Any, str]] = {
    "path": ("POST", f"{C}/points/query/groups", {}, "POST /collections/c/points/query/groups"),
    "telemetry": ("GET", "/telemetry", None, "GET /telemetry"),
    "snapshots": ("POST", f"{C}/snapshots", {}, "snapshots"),
    "method": ("DELETE", f"{C}/points", None, "DELETE /collections/c/points"),
    "recommend": ("POST", f"{C}/points/query", {"query": {"recommend": {"positive": [1]}}}, "recommend"),
    "formula": ("POST", f"{C}/points/query", {"query": {"formula": "$score"}}, "formula"),
    "lookup": ("POST", f"{C}/points/query", {"lookup_from": {"collection": "c"}}, "lookup_from"),
    "inference": (
        "POST",
        f"{C}/points/query",
        {"query": {"nearest": {"text": "hi", "model": "m"}}, "using": "dense"},
        "inf",
    ),
    "member": ("POST", f"{C}/points/count", {"sharding": 1}, "sharding"),
    "geo": ("POST", f"{C}/points/count", {"filter": {"must": [{"key": "a", "geo_radius": {}}]}}, "geo_radius"),
    "geo index": ("PUT", f"{C}/index", {"field_name": "a", "field_schema": "geo"}, "geo"),
    "quantization": ("PUT", "/collections/x", {"vectors": VECTORS, "quantization_config": {"scalar": {}}}, "quantiz"),
    "replicas": ("PUT", "/collections/x", {"vectors": VECTORS, "replication_factor": 2}, "replication_factor"),
    "multi": ("PUT", f"{C}/points", {"points": [{"id": 1, "vector": {"dense": [[1, 2]]}}]}, "multi-vectors"),
    "datatype": (
        "PUT",
        "/collections/x",
        {"vectors": {"d": {"size": 2, "distance": "Dot", "datatype": "uint8"}}},
        "datatype",
    ),
    "update": ("PATCH", C, {"params": {"replication_factor": 2}}, "params"),
    "overwrite key": ("PUT", f"{C}/points/payload", {"payload": {}, "points": [1], "key": "a"}, "key"),
    "both targets": ("POST", f"{C}/points/delete", {"points": [1], "filter": {}}, "together"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
async def test_what_the_door_does_not_do_answers_501_and_names_itself(http: httpx.AsyncClient, name: str) -> None:
    method, path, body, named = UNSUPPORTED[name]
    response = await http.request(method, path, json=body)
    assert response.status_code == 501
    assert "Not supported by the local vector door" in error_of(response)
    assert named in error_of(response)


def _nest(levels: int) -> dict[str, Any]:
    nested: dict[str, Any] = {"must": []}
    for _ in range(levels):
        nested = {"must": [nested]}
    return nested


def _prefetches(levels: int) -> dict[str, Any]:
    nested: dict[str, Any] = {"query": [1, 0], "using": "dense"}
    for _ in range(levels):
        nested = {"prefetch": nested, "query": [1, 0], "using": "dense"}
    return nested


WRONG: dict[str, tuple[str, str, Any]] = {
    "no json": ("PUT", f"{C}/points", b"{"),
    "not utf-8": ("PUT", f"{C}/points", b'{"points": "\xff"}'),
    "collection list": ("PUT", "/collections/x", []),
    "size text": ("PUT", "/collections/x", {"vectors": {"size": "2", "distance": "Dot"}}),
    "huge size": ("PUT", "/collections/x", {"vectors": {"size": 70_000, "distance": "Dot"}}),
    "key number": ("POST", f"{C}/points/count", {"filter": {"must": {"key": 1, "match": {"value": 1}}}}),
    "exact text": ("POST", f"{C}/points/count", {"exact": "yes"}),
    "threshold text": ("POST", f"{C}/points/query", {"score_threshold": "high"}),
    "threshold huge": ("POST", f"{C}/points/query", {"score_threshold": 1e300}),
    "ids object": ("POST", f"{C}/points", {"ids": {}}),
    "vector name": ("POST", f"{C}/points", {"ids": [1], "with_vector": ["none"]}),
    "vector text": ("POST", f"{C}/points", {"ids": [1], "with_vector": "dense"}),
    "no object": ("PUT", f"{C}/points", []),
    "no points": ("PUT", f"{C}/points", {}),
    "no id": ("PUT", f"{C}/points", {"points": [{"vector": {}}]}),
    "null vector": ("PUT", f"{C}/points", {"points": [{"id": 1, "vector": None}]}),
    "text component": ("PUT", f"{C}/points", {"points": [{"id": 1, "vector": {"dense": ["1", 2]}}]}),
    "boolean component": ("PUT", f"{C}/points", {"points": [{"id": 1, "vector": {"dense": [True, 2]}}]}),
    "infinite": ("PUT", f"{C}/points", b'{"points": [{"id": 1, "vector": {"dense": [1e999, 1]}}]}'),
    "over 32 bits": ("PUT", f"{C}/points", {"points": [{"id": 1, "vector": {"dense": [1e39, 1]}}]}),
    "norm over 32 bits": ("PUT", f"{C}/points", {"points": [{"id": 1, "vector": {"dense": [1e30, 1]}}]}),
    "sparse index": (
        "PUT",
        f"{C}/points",
        {"points": [{"id": 1, "vector": {"sparse": {"indices": [-1], "values": [1]}}}]},
    ),
    "sparse as dense": ("PUT", f"{C}/points", {"points": [{"id": 1, "vector": {"sparse": [1, 2]}}]}),
    "huge id": ("PUT", f"{C}/points", {"points": [{"id": 2**64, "vector": {}}]}),
    "payload list": ("PUT", f"{C}/points", {"points": [{"id": 1, "vector": {}, "payload": [1]}]}),
    "uneven batch": ("PUT", f"{C}/points", {"batch": {"ids": [1, 2], "vectors": {"dense": [[1, 2]]}}}),
    "mode": ("PUT", f"{C}/points", {"points": [{"id": 1, "vector": {}}], "update_mode": "maybe"}),
    "no target": ("POST", f"{C}/points/delete", {}),
    "no vectors": ("PUT", f"{C}/points/vectors", {"points": [{"id": 1, "vector": {}}]}),
    "operation": ("POST", f"{C}/points/batch", {"operations": [{}]}),
    "match": ("POST", f"{C}/points/count", {"filter": {"must": {"key": "a", "match": {}}}}),
    "match kind": ("POST", f"{C}/points/count", {"filter": {"must": {"key": "a", "match": {"value": 1.5}}}}),
    "mixed any": ("POST", f"{C}/points/count", {"filter": {"must": {"key": "a", "match": {"any": [1, "a"]}}}}),
    "date": ("POST", f"{C}/points/count", {"filter": {"must": {"key": "a", "range": {"gt": "tomorrow"}}}}),
    "nested": ("POST", f"{C}/points/count", {"filter": {"must": {"nested": {"key": "a", "filter": None}}}}),
    "deep filter": ("POST", f"{C}/points/count", {"filter": _nest(200)}),
    "deep prefetch": ("POST", f"{C}/points/query", _prefetches(30)),
    "weights": ("POST", f"{C}/points/query", {"prefetch": [_prefetches(0)], "query": {"rrf": {"weights": [1, 2]}}}),
    "diversity": (
        "POST",
        f"{C}/points/query",
        {"query": {"nearest": [1, 0], "mmr": {"diversity": 2}}, "using": "dense"},
    ),
    "offset and order": ("POST", f"{C}/points/scroll", {"offset": 1, "order_by": "a"}),
    "facet": ("POST", f"{C}/facet", {"key": "no.index"}),
    "index path": ("PUT", f"{C}/index", {"field_name": "a[", "field_schema": "keyword"}),
    "tokenizer": ("PUT", f"{C}/index", {"field_name": "a", "field_schema": {"type": "text", "tokenizer": "x"}}),
    "distance": ("PUT", "/collections/x", {"vectors": {"size": 2, "distance": "Far"}}),
    "shared name": ("PUT", "/collections/x", {"vectors": {"a": VECTORS["dense"]}, "sparse_vectors": {"a": {}}}),
    "name": ("PUT", "/collections/a%3Ab", {"vectors": VECTORS}),
    "alias action": ("POST", "/collections/aliases", {"actions": [{}]}),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_request_is_refused_and_changes_nothing(http: httpx.AsyncClient, name: str) -> None:
    method, path, body = WRONG[name]
    content = {"content": body} if isinstance(body, bytes) else {"json": body}
    response = await http.request(method, path, **content)
    assert response.status_code in (400, 422), response.text
    assert error_of(response)
    assert (await http.post(f"{C}/points/count", json={})).json()["result"]["count"] == 0
    assert [each["name"] for each in (await http.get("/collections")).json()["result"]["collections"]] == ["c"]


async def test_a_batch_with_a_bad_operation_applies_none(http: httpx.AsyncClient) -> None:
    good = {"upsert": {"points": [{"id": 1, "vector": {}}]}}
    bad = {"upsert": {"points": [{"id": 2, "vector": {"dense": [1]}}]}}
    response = await http.post(f"{C}/points/batch?wait=true", json={"operations": [good, bad]})
    assert response.status_code == 400
    assert (await http.post(f"{C}/points/count", json={})).json()["result"]["count"] == 0


async def test_an_envelope_is_qdrants(http: httpx.AsyncClient) -> None:
    answer = (await http.get("/collections")).json()
    assert answer["status"] == "ok"
    assert 0 <= answer["time"] < 5


async def test_deleting_a_collection_that_is_not_there_is_no_error(http: httpx.AsyncClient) -> None:
    assert (await http.delete("/collections/none")).json()["result"] is False
