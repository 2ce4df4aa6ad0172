"""Vectors and points in JSON -> the engine's, checked whole before anything is written.

The engine checks while it writes: a batch whose last point has a wrong name has by then stored the first ones, and its
log replays them. So nothing reaches `update()` that it could refuse. What it accepts and mangles is refused here too:
not-a-number, and cosine vectors whose norm overflows 32 bits (it stores zeros).
"""

import math
from collections.abc import Callable
from typing import Any

from qdrant_edge import Point, PointVectors, SparseVector

from infra.qdrant.door.faults import BadRequest, Malformed, Unsupported, building
from infra.qdrant.door.reading import F32_MAX, Fields, items, payload, point_id
from infra.qdrant.door.schema import Schema

_NUMBERS = {int, float}
_MAX_INDEX = 2**32 - 1
_INFERENCE = ("text", "image", "object")


def dense_vector(schema: Schema, name: str, values: object) -> list[float]:
    """Return a dense vector of the collection's dimension. Raises BadRequest, Malformed, Unsupported."""
    size, distance = schema.dense[name]
    if isinstance(values, dict):
        if any(kind in values for kind in _INFERENCE):
            raise Unsupported("inference: send vectors")
        raise BadRequest(f"Wrong usage of sparse vectors: `{name}` is dense")
    vector = items(values, f"vector {name}")
    if vector and isinstance(vector[0], list):
        raise Unsupported("multi-vectors")
    if len(vector) != size:
        raise BadRequest(f"Vector dimension error: expected dim: {size}, got {len(vector)}")
    # a vector component that is no number would be refused by the engine half-way through the batch
    if not set(map(type, vector)) <= _NUMBERS:
        raise Malformed(f"vector {name}: expected numbers")
    limit = math.sqrt(F32_MAX / size) if distance == "Cosine" else F32_MAX
    if not (math.isfinite(sum(vector)) and -limit <= min(vector) and max(vector) <= limit):
        raise BadRequest(f"vector {name} holds a number that is not finite in 32 bits")
    return vector


def sparse_vector(name: str, value: object) -> SparseVector:
    """Return a sparse vector: unique 32-bit indices, as many finite values. Raises BadRequest, Malformed."""
    fields = Fields(value, f"vector {name}")
    indices = items(fields.need("indices"), f"vector {name}.indices")
    values = items(fields.need("values"), f"vector {name}.values")
    fields.done()
    if len(indices) != len(values):
        raise BadRequest(f"vector {name}: {len(indices)} indices and {len(values)} values")
    if not set(map(type, indices)) <= {int} or not set(map(type, values)) <= _NUMBERS:
        raise Malformed(f"vector {name}: expected integer indices and numbers")
    if len(set(indices)) != len(indices):
        raise BadRequest(f"vector {name}: indices must be unique")
    if indices and not (min(indices) >= 0 and max(indices) <= _MAX_INDEX):
        raise BadRequest(f"vector {name}: an index does not fit 32 bits")
    if values and not (math.isfinite(sum(values)) and max(map(abs, values)) <= F32_MAX):
        raise BadRequest(f"vector {name} holds a number that is not finite in 32 bits")
    return SparseVector(indices, values)


def named_vector(schema: Schema, name: str, value: object) -> list[float] | SparseVector:
    """Return one vector of the collection. Raises BadRequest, Malformed, Unsupported."""
    schema.check_name(name)
    if name in schema.dense:
        return dense_vector(schema, name, value)
    if not isinstance(value, dict):
        raise BadRequest(f"Wrong usage of dense vectors: `{name}` is sparse")
    if any(kind in value for kind in _INFERENCE):
        raise Unsupported("inference: send vectors")
    return sparse_vector(name, value)


def vectors_of(schema: Schema, value: object) -> dict[str, Any]:
    """Return a point's vectors by name; an empty object is a point without vectors. Raises as `named_vector`."""
    if isinstance(value, list):
        return {"": named_vector(schema, "", value)}
    return {name: named_vector(schema, name, vector) for name, vector in payload(value, "vector").items()}


def read_points(schema: Schema, body: Fields) -> list[Point]:
    """Return the points of an upsert (`points` or columnar `batch`). Raises BadRequest, Malformed, Unsupported."""
    if "batch" in body:
        rows = _columns(schema, Fields(body.take("batch"), "batch"))
    else:
        rows = [Fields(item, "point") for item in items(body.need("points"), "points")]
    return [_point(schema, row) for row in rows]


def _point(schema: Schema, fields: Fields) -> Point:
    identity = point_id(fields.need("id"))
    vectors = vectors_of(schema, fields.need("vector"))
    content = payload(fields.take("payload", {}), "payload")
    fields.done()
    with building(f"point {identity}"):
        return Point(identity, vectors, content)


def _columns(schema: Schema, batch: Fields) -> list[Fields]:
    ids = items(batch.need("ids"), "batch.ids")
    vectors = batch.need("vectors")
    payloads = items(batch.take("payloads", [{}] * len(ids)), "batch.payloads")
    batch.done()
    if isinstance(vectors, dict):
        for name in vectors:
            schema.check_name(name)
        columns = {name: items(column, f"batch.vectors.{name}") for name, column in vectors.items()}
        row: Callable[[int], Any] = lambda i: {name: column[i] for name, column in columns.items()}  # noqa: E731
        lengths = {len(column) for column in columns.values()}
    else:
        whole = items(vectors, "batch.vectors")
        row = whole.__getitem__
        lengths = {len(whole)}
    if (lengths | {len(payloads)}) - {len(ids)}:
        raise BadRequest("batch: ids, vectors and payloads differ in length")
    return [Fields({"id": ids[i], "vector": row(i), "payload": payloads[i]}, "point") for i in range(len(ids))]


def read_point_vectors(schema: Schema, value: object) -> tuple[PointVectors, int | Any]:
    """Return one entry of an update-vectors request, and its id. Raises BadRequest, Malformed, Unsupported."""
    fields = Fields(value, "point vectors")
    identity = point_id(fields.need("id"))
    vectors = vectors_of(schema, fields.need("vector"))
    fields.done()
    if not vectors:
        raise BadRequest(f"no vectors for point {identity}")
    with building(f"point {identity}"):
        return PointVectors(identity, vectors), identity
