"""Write requests in JSON -> changes that the engine cannot refuse once their points are known to exist."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qdrant_edge import EdgeShard, Filter, UpdateMode, UpdateOperation

from infra.qdrant.door.deciding import Decision, by_ids, matching, upserting
from infra.qdrant.door.faults import BadRequest, Unsupported, building
from infra.qdrant.door.filters import read_filter
from infra.qdrant.door.reading import Fields, PointId, items, one_of, payload, point_ids, text, texts
from infra.qdrant.door.schema import Schema
from infra.qdrant.door.vectors import read_point_vectors, read_points

_MODES = {"upsert": UpdateMode.Upsert, "insert_only": UpdateMode.InsertOnly, "update_only": UpdateMode.UpdateOnly}


@dataclass(frozen=True, slots=True)
class Change:
    """One operation for the engine: given, or decided when it is applied (see `deciding`)."""

    operation: UpdateOperation | Decision
    needs: tuple[PointId, ...] = ()
    """Points that must exist when it is applied: the engine raises at the first missing one, with others written."""


def read_upsert(schema: Schema, body: object) -> Change:
    """`PUT points`. Raises BadRequest, Malformed, Unsupported."""
    fields = Fields(body, "upsert")
    points = read_points(schema, fields)
    condition = read_filter(fields.take("update_filter"))
    mode = one_of(fields.take("update_mode", "upsert"), "update_mode", tuple(_MODES))
    fields.done()
    if not points:
        raise BadRequest("Empty update request")
    if condition is None and mode == "upsert":
        return Change(UpdateOperation.upsert_points(points))
    return Change(upserting(points, condition, _MODES[mode]))


def read_delete(_: Schema, body: object) -> Change:
    """`POST points/delete`. Unknown ids are no error. Raises BadRequest, Malformed, Unsupported."""
    fields = Fields(body, "delete")
    target = _target(fields)
    fields.done()
    if isinstance(target, Filter):
        return Change(by_ids(target, UpdateOperation.delete_points))
    return Change(UpdateOperation.delete_points(target))


def read_set_payload(_: Schema, body: object) -> Change:
    """`POST points/payload`: merge into the payload. Raises BadRequest, Malformed, Unsupported."""
    fields = Fields(body, "set_payload")
    content, key = payload(fields.need("payload"), "payload"), _key(fields)
    target = _target(fields)
    fields.done()
    with building("set_payload"):
        if isinstance(target, Filter):
            return Change(by_ids(target, lambda ids: UpdateOperation.set_payload(ids, content, key)))
        return Change(UpdateOperation.set_payload(target, content, key), tuple(target))


def read_overwrite_payload(_: Schema, body: object) -> Change:
    """`PUT points/payload`: replace the payload. Raises BadRequest, Malformed, Unsupported."""
    fields = Fields(body, "overwrite_payload")
    content = payload(fields.need("payload"), "payload")
    target = _target(fields)
    # the engine ignores `key` here and would replace the whole payload
    fields.done()
    with building("overwrite_payload"):
        if isinstance(target, Filter):
            return Change(by_ids(target, lambda ids: UpdateOperation.overwrite_payload(ids, content)))
        return Change(UpdateOperation.overwrite_payload(target, content), tuple(target))


def read_delete_payload(_: Schema, body: object) -> Change:
    """`POST points/payload/delete`: forget keys. Raises BadRequest, Malformed, Unsupported."""
    fields = Fields(body, "delete_payload")
    keys = texts(fields.need("keys"), "keys")
    target = _target(fields)
    fields.done()
    with building("delete_payload"):
        if isinstance(target, Filter):
            return Change(by_ids(target, lambda ids: UpdateOperation.delete_payload(ids, keys)))
        return Change(UpdateOperation.delete_payload(target, keys), tuple(target))


def read_clear_payload(_: Schema, body: object) -> Change:
    """`POST points/payload/clear`. Raises BadRequest, Malformed, Unsupported."""
    fields = Fields(body, "clear_payload")
    target = _target(fields)
    fields.done()
    if isinstance(target, Filter):
        return Change(by_ids(target, UpdateOperation.clear_payload))
    return Change(UpdateOperation.clear_payload(target), tuple(target))


def read_update_vectors(schema: Schema, body: object) -> Change:
    """`PUT points/vectors`: replace the vectors named. Raises BadRequest, Malformed, Unsupported."""
    fields = Fields(body, "update_vectors")
    entries = [read_point_vectors(schema, item) for item in items(fields.need("points"), "points")]
    condition = read_filter(fields.take("update_filter"))
    fields.done()
    if not entries:
        raise BadRequest("Empty update request")
    needed = tuple(identity for _, identity in entries)
    if condition is None:
        return Change(UpdateOperation.update_vectors([vectors for vectors, _ in entries]), needed)
    within: Filter = condition

    def decide(shard: EdgeShard) -> UpdateOperation | None:
        passing = set(matching(shard, within, needed))
        kept = [vectors for vectors, identity in entries if identity in passing]
        return UpdateOperation.update_vectors(kept) if kept else None

    return Change(decide, needed)


def read_delete_vectors(schema: Schema, body: object) -> Change:
    """`POST points/vectors/delete`: forget the vectors named. Raises BadRequest, Malformed, Unsupported."""
    fields = Fields(body, "delete_vectors")
    names = texts(fields.need("vector"), "vector")
    for name in names:
        schema.check_name(name)
    target = _target(fields)
    fields.done()
    if isinstance(target, Filter):
        return Change(by_ids(target, lambda ids: UpdateOperation.delete_vectors(ids, names)))
    return Change(UpdateOperation.delete_vectors(target, names), tuple(target))


Reader = Callable[[Schema, object], Change]

OPERATIONS: dict[str, Reader] = {
    "upsert": read_upsert,
    "delete": read_delete,
    "set_payload": read_set_payload,
    "overwrite_payload": read_overwrite_payload,
    "delete_payload": read_delete_payload,
    "clear_payload": read_clear_payload,
    "update_vectors": read_update_vectors,
    "delete_vectors": read_delete_vectors,
}
"""Operations of a batch update by the name of their member."""


def read_batch(schema: Schema, body: object) -> list[Change]:
    """`POST points/batch`: all operations, checked before the first is applied. Raises as the operations do."""
    fields = Fields(body, "batch")
    changes = [_operation(schema, item) for item in items(fields.need("operations"), "operations")]
    fields.done()
    return changes


def _operation(schema: Schema, value: object) -> Change:
    fields = Fields(value, "operation")
    for name, read in OPERATIONS.items():
        if name in fields:
            body = fields.take(name)
            fields.done()
            return read(schema, body)
    fields.done()
    raise BadRequest(f"an operation is one of {', '.join(OPERATIONS)}")


def _target(fields: Fields) -> list[PointId] | Filter:
    if "points" in fields and "filter" in fields:
        raise Unsupported(f"{fields.where}: points and filter together")
    if "points" in fields:
        ids = point_ids(fields.take("points"), "points")
        if not ids:
            raise BadRequest("Empty update request")
        return ids
    condition: Any = read_filter(fields.take("filter"))
    if condition is None:
        raise BadRequest("Either points or filter must be provided")
    selected: Filter = condition
    return selected


def _key(fields: Fields) -> str | None:
    key = fields.take("key")
    return None if key is None else text(key, "key")
