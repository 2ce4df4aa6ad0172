"""The paths of Qdrant's REST API that the door answers. All others answer 501 with their name."""

from typing import Any

from qdrant_edge import FacetRequest, QueryBatchRequest, ScrollRequest, UpdateOperation
from starlette.routing import Route

from infra.qdrant.door import answers, changes
from infra.qdrant.door.app import Call, answering
from infra.qdrant.door.faults import Invalid, building, engine
from infra.qdrant.door.filters import read_filter
from infra.qdrant.door.indexes import describe_index, read_index
from infra.qdrant.door.queries import DEFAULT_LIMIT, QueryReader, Reading, read_order, with_payload, with_vector
from infra.qdrant.door.reading import Fields, flag, integer, items, payload, point_id, point_ids, text
from infra.qdrant.door.schema import NEVER

_HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}
_OPTIMIZER = {"default_segment_number": 1, "indexing_threshold": NEVER, "flush_interval_sec": 1}


# --- collections -----------------------------------------------------------------------------------------------------


async def list_collections(call: Call) -> Any:
    """GET /collections"""
    return {"collections": [{"name": name} for name in call.store.catalogue.collections]}


async def create_collection(call: Call) -> Any:
    """PUT /collections/{name}"""
    call.store.create(call.name, payload(call.body, "create collection"))
    return True


async def delete_collection(call: Call) -> Any:
    """DELETE /collections/{name}"""
    return call.store.delete(call.name)


async def collection_exists(call: Call) -> Any:
    """GET /collections/{name}/exists"""
    catalogue = call.store.catalogue
    return {"exists": call.name in catalogue.collections or call.name in catalogue.aliases}


async def describe_collection(call: Call) -> Any:
    """GET /collections/{name}"""
    name = call.store.resolve(call.name)
    definition = call.store.catalogue.collections[name].definition
    with engine():
        info = call.collection.shard.info()
    params = {key: definition[key] for key in ("vectors", "sparse_vectors", "on_disk_payload") if key in definition}
    return {
        "status": "green",
        "optimizer_status": "ok",
        "segments_count": info.segments_count,
        "points_count": info.points_count,
        # every search is exact: nothing is indexed approximately
        "indexed_vectors_count": 0,
        "payload_schema": {field: describe_index(index) for field, index in info.payload_schema.items()},
        "config": {
            "params": {"shard_number": 1, "replication_factor": 1, "write_consistency_factor": 1, **params},
            "hnsw_config": {**_HNSW, **(definition.get("hnsw_config") or {})},
            "optimizer_config": {**_OPTIMIZER, **(definition.get("optimizers_config") or {})},
            "metadata": definition.get("metadata"),
        },
    }


async def update_collection(call: Call) -> Any:
    """PATCH /collections/{name}: metadata, and tuning that is kept and shown."""
    fields = Fields(call.body, "update collection")
    members = ("metadata", "hnsw_config", "optimizers_config")
    given = {member: payload(fields.take(member), member) for member in members if member in fields}
    fields.done()
    call.store.redefine(call.name, given)
    return True


async def change_aliases(call: Call) -> Any:
    """POST /collections/aliases"""
    fields = Fields(call.body, "aliases")
    actions = fields.need("actions")
    fields.done()
    call.store.change_aliases(actions)
    return True


async def list_aliases(call: Call) -> Any:
    """GET /aliases and GET /collections/{name}/aliases"""
    wanted = call.request.path_params.get("name")
    if wanted is not None:
        wanted = call.store.resolve(wanted)
    found = call.store.catalogue.aliases.items()
    return {
        "aliases": [
            {"alias_name": alias, "collection_name": target} for alias, target in found if wanted in (None, target)
        ]
    }


async def create_index(call: Call) -> Any:
    """PUT /collections/{name}/index"""
    fields = Fields(call.body, "create index")
    name, schema = text(fields.need("field_name"), "field_name"), read_index(fields.need("field_schema"))
    fields.done()
    with building(f"index on `{name}`"):
        operation = UpdateOperation.create_field_index(name, schema)
    return await _finish(call, call.collection.update(operation))


async def delete_index(call: Call) -> Any:
    """DELETE /collections/{name}/index/{field}"""
    with building("index"):
        operation = UpdateOperation.delete_field_index(call.request.path_params["field"])
    return await _finish(call, call.collection.update(operation))


# --- writes ----------------------------------------------------------------------------------------------------------


async def _finish(call: Call, number: int) -> Any:
    if call.waits:
        await call.collection.durable()
    return {"operation_id": number, "status": "completed" if call.waits else "acknowledged"}


def writing(read: changes.Reader) -> Any:
    """Return the endpoint of one kind of write."""

    async def write(call: Call) -> Any:
        collection = call.collection
        return await _finish(call, collection.apply([read(collection.schema, call.body)], call.size))

    return answering(write)


async def update_batch(call: Call) -> Any:
    """POST /collections/{name}/points/batch"""
    collection = call.collection
    number, results = 0, []
    for change in changes.read_batch(collection.schema, call.body):
        number = collection.apply([change], call.size)
        results.append(number)
    if not call.waits:
        return [{"operation_id": each, "status": "acknowledged"} for each in results]
    await collection.durable()
    return [{"operation_id": each, "status": "completed"} for each in results]


# --- reads -----------------------------------------------------------------------------------------------------------


async def retrieve(call: Call) -> Any:
    """POST /collections/{name}/points"""
    collection, fields = call.collection, Fields(call.body, "retrieve")
    ids = point_ids(fields.need("ids"), "ids")
    shown = with_vector(collection.schema, fields.take("with_vector", False))
    selector = with_payload(fields.take("with_payload", True))
    fields.done()
    with engine():
        return [answers.record(found) for found in collection.shard.retrieve(ids, selector, shown)]


async def scroll(call: Call) -> Any:
    """POST /collections/{name}/points/scroll"""
    collection, fields = call.collection, Fields(call.body, "scroll")
    offset, order = fields.take("offset"), fields.take("order_by")
    limit = min(integer(fields.take("limit", DEFAULT_LIMIT), "limit", 1), max(collection.points(), 1))
    if offset is not None and order is not None:
        raise Invalid("Cannot use an `offset` when using `order_by`. The alternative for paging is to use `start_from`")
    request = ScrollRequest(
        offset=None if offset is None else point_id(offset),
        limit=limit,
        filter=read_filter(fields.take("filter")),
        with_payload=with_payload(fields.take("with_payload", True)),
        with_vector=with_vector(collection.schema, fields.take("with_vector", False)),
        order_by=None if order is None else read_order(order),
    )
    fields.done()
    with engine():
        points, following = collection.shard.scroll(request)
    return {"points": [answers.record(point) for point in points], "next_page_offset": following}


async def count(call: Call) -> Any:
    """POST /collections/{name}/points/count: always exact"""
    fields = Fields(call.body, "count")
    flag(fields.take("exact", True), "exact")
    condition = read_filter(fields.take("filter"))
    fields.done()
    return {"count": call.collection.count(condition)}


async def facet(call: Call) -> Any:
    """POST /collections/{name}/facet: always exact"""
    collection, fields = call.collection, Fields(call.body, "facet")
    flag(fields.take("exact", True), "exact")
    key = text(fields.need("key"), "key")
    limit = min(integer(fields.take("limit", DEFAULT_LIMIT), "limit", 1), max(collection.points(), 1))
    condition = read_filter(fields.take("filter"))
    fields.done()
    with building("facet"):
        request = FacetRequest(key, limit, True, condition)
    with engine():
        hits = collection.shard.facet(request).hits
    return {"hits": [{"value": hit.value, "count": hit.count} for hit in hits]}


def _reader(call: Call) -> QueryReader:
    collection = call.collection
    return QueryReader(collection.schema, collection.points(), collection.vector_of)


async def query(call: Call) -> Any:
    """POST /collections/{name}/points/query"""
    reading = _reader(call).read(call.body)
    with engine():
        found = call.collection.shard.query(reading.request)
    return _hits(reading, found)


async def query_batch(call: Call) -> Any:
    """POST /collections/{name}/points/query/batch"""
    fields = Fields(call.body, "query batch")
    reader = _reader(call)
    readings = [reader.read(each) for each in items(fields.need("searches"), "searches")]
    fields.done()
    with engine():
        batches = call.collection.shard.query_batch(QueryBatchRequest([reading.request for reading in readings]))
    return [_hits(reading, found) for reading, found in zip(readings, batches, strict=True)]


def _hits(reading: Reading, found: list[Any]) -> dict[str, Any]:
    return {"points": [answers.scored(point, reading.with_vector) for point in found]}


_POINTS = "/collections/{name}/points"

ROUTES = [
    Route("/collections", answering(list_collections), methods=["GET"]),
    # before /collections/{name}: a collection cannot be called `aliases` anyway
    Route("/collections/aliases", answering(change_aliases), methods=["POST"]),
    Route("/aliases", answering(list_aliases), methods=["GET"]),
    Route("/collections/{name}", answering(describe_collection), methods=["GET"]),
    Route("/collections/{name}", answering(create_collection), methods=["PUT"]),
    Route("/collections/{name}", answering(delete_collection), methods=["DELETE"]),
    Route("/collections/{name}", answering(update_collection), methods=["PATCH"]),
    Route("/collections/{name}/exists", answering(collection_exists), methods=["GET"]),
    Route("/collections/{name}/aliases", answering(list_aliases), methods=["GET"]),
    Route("/collections/{name}/index", answering(create_index), methods=["PUT"]),
    Route("/collections/{name}/index/{field}", answering(delete_index), methods=["DELETE"]),
    Route("/collections/{name}/facet", answering(facet), methods=["POST"]),
    Route(_POINTS, writing(changes.read_upsert), methods=["PUT"]),
    Route(_POINTS, answering(retrieve), methods=["POST"]),
    Route(f"{_POINTS}/delete", writing(changes.read_delete), methods=["POST"]),
    Route(f"{_POINTS}/payload", writing(changes.read_set_payload), methods=["POST"]),
    Route(f"{_POINTS}/payload", writing(changes.read_overwrite_payload), methods=["PUT"]),
    Route(f"{_POINTS}/payload/delete", writing(changes.read_delete_payload), methods=["POST"]),
    Route(f"{_POINTS}/payload/clear", writing(changes.read_clear_payload), methods=["POST"]),
    Route(f"{_POINTS}/vectors", writing(changes.read_update_vectors), methods=["PUT"]),
    Route(f"{_POINTS}/vectors/delete", writing(changes.read_delete_vectors), methods=["POST"]),
    Route(f"{_POINTS}/batch", answering(update_batch), methods=["POST"]),
    Route(f"{_POINTS}/scroll", answering(scroll), methods=["POST"]),
    Route(f"{_POINTS}/count", answering(count), methods=["POST"]),
    Route(f"{_POINTS}/query", answering(query), methods=["POST"]),
    Route(f"{_POINTS}/query/batch", answering(query_batch), methods=["POST"]),
]
