"""What is checked of a vector before anything is written."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.qdrant.door.faults import BadRequest, Fault, Malformed, Unsupported
from infra.qdrant.door.reading import Fields
from infra.qdrant.door.schema import read_schema
from infra.qdrant.door.vectors import dense_vector, named_vector, read_points, sparse_vector, vectors_of

SCHEMA = read_schema(
    {
        "vectors": {"dense": {"size": 3, "distance": "Cosine"}, "dot": {"size": 3, "distance": "Dot"}},
        "sparse_vectors": {"sparse": {}},
    }
)
F32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
ANY = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=6)


@given(st.lists(F32, min_size=3, max_size=3))
def test_all_finite_numbers_make_a_vector(values: list[float]) -> None:
    assert dense_vector(SCHEMA, "dot", values) == values


@given(st.lists(ANY, max_size=4))
def test_a_vector_is_three_finite_numbers_or_refused(values: list[Any]) -> None:
    try:
        accepted = dense_vector(SCHEMA, "dot", values)
    except Fault:
        return
    assert len(accepted) == 3
    assert all(type(value) in (int, float) and math.isfinite(value) and abs(value) < 3.41e38 for value in accepted)


def test_a_cosine_vector_whose_norm_overflows_is_refused() -> None:
    assert dense_vector(SCHEMA, "dot", [1e30, 0, 0])
    with pytest.raises(BadRequest, match="not finite"):
        dense_vector(SCHEMA, "dense", [1e30, 0, 0])


@given(st.lists(ANY, max_size=3), st.lists(ANY, max_size=3))
def test_a_sparse_vector_is_whole_or_refused(indices: list[Any], values: list[Any]) -> None:
    try:
        vector = sparse_vector("sparse", {"indices": indices, "values": values})
    except Fault:
        return
    assert len(set(vector.indices)) == len(vector.values) == len(indices)


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("none", [1, 2, 3], BadRequest),
        ("dense", {"indices": [1], "values": [1]}, BadRequest),
        ("dense", {"text": "hi", "model": "m"}, Unsupported),
        ("sparse", {"text": "hi", "model": "bm25"}, Unsupported),
        ("dense", [[1, 2, 3]], Unsupported),
        ("dense", "1,2,3", Malformed),
        ("sparse", [1, 2], BadRequest),
        ("sparse", {"indices": [2**32], "values": [1]}, BadRequest),
        ("sparse", {"indices": [1.0], "values": [1]}, Malformed),
        ("sparse", {"indices": [1], "values": [math.inf]}, BadRequest),
        ("sparse", {"indices": [1], "values": [1], "weights": [1]}, Unsupported),
    ],
)
def test_a_wrong_vector_is_refused(name: str, value: Any, fault: type[Fault]) -> None:
    with pytest.raises(fault):
        named_vector(SCHEMA, name, value)


def test_a_point_may_have_no_vector() -> None:
    assert vectors_of(SCHEMA, {}) == {}
    (point,) = read_points(SCHEMA, Fields({"points": [{"id": 1, "vector": {}}]}, "upsert"))
    assert point.vector == {}


def test_columns_of_an_unnamed_vector() -> None:
    plain = read_schema({"vectors": {"size": 2, "distance": "Dot"}})
    batch = {"ids": [1, 2], "vectors": [[1, 2], [3, 4]], "payloads": [None, {"a": 1}]}
    points = read_points(plain, Fields({"batch": batch}, "upsert"))
    assert [(point.id, point.payload) for point in points] == [(1, {}), (2, {"a": 1})]
