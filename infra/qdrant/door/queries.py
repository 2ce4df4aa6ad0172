"""Read requests in JSON -> the engine's. Recommend, discover, context, formula and grouped queries answer 501."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qdrant_edge import (
    Direction,
    Filter,
    Fusion,
    HasIdCondition,
    IdfParams,
    Mmr,
    OrderBy,
    PayloadSelector,
    Prefetch,
    Query,
    QueryRequest,
    Sample,
    SearchParams,
)

from infra.qdrant.door.faults import BadRequest, Malformed, Unsupported, building
from infra.qdrant.door.filters import read_filter
from infra.qdrant.door.reading import Fields, PointId, flag, integer, items, number, one_of, point_id, text, texts
from infra.qdrant.door.schema import Schema
from infra.qdrant.door.vectors import named_vector

DEFAULT_LIMIT = 10
RRF_K = 2
"""Qdrant's constant of reciprocal rank fusion when the request names none (its REST documentation)."""
MAX_PREFETCH_DEPTH = 8
MMR_DIVERSITY = 0.5

VectorOf = Callable[[PointId, str], Any]
"""Returns the named vector of a stored point; raises NotFound or BadRequest."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A query for the engine and what its answer shows."""

    request: QueryRequest
    with_vector: bool | list[str]


@dataclass(frozen=True, slots=True)
class QueryReader:
    """Reads the queries of one collection. `points` bounds limits: the engine allocates what it is asked for."""

    schema: Schema
    points: int
    vector_of: VectorOf

    def read(self, body: object) -> Reading:
        """`POST points/query`. Raises BadRequest, Malformed, Invalid, NotFound, Unsupported."""
        fields = Fields(body, "query")
        limit = self._bounded(fields.take("limit", DEFAULT_LIMIT), "limit", 1)
        offset = self._bounded(fields.take("offset", 0), "offset", 0)
        shown = with_vector(self.schema, fields.take("with_vector", False))
        selector = with_payload(fields.take("with_payload", False))
        parts = self._parts(fields, limit + offset, 0)
        fields.done()
        with building("query"):
            request = QueryRequest(limit=limit, offset=offset, with_vector=shown, with_payload=selector, **parts)
        return Reading(request, shown)

    def _bounded(self, value: object, where: str, low: int) -> int:
        return min(integer(value, where, low), max(self.points, 1))

    def _parts(self, fields: Fields, limit: int, depth: int) -> dict[str, Any]:
        """What a query and a prefetch share."""
        prefetches = self._prefetches(fields.take("prefetch", []), depth)
        using = text(fields.take("using", ""), "using")
        condition = read_filter(fields.take("filter"))
        threshold = fields.take("score_threshold")
        params = _search_params(fields.take("params"))
        query, excluded = self._query(fields.take("query"), using, limit, prefetches)
        if excluded is not None:
            own = Filter(must_not=[HasIdCondition({excluded})])
            condition = own if condition is None else Filter(must=[condition, own])
        return {
            "query": query,
            "prefetches": prefetches,
            "filter": condition,
            "score_threshold": None if threshold is None else number(threshold, "score_threshold"),
            "params": params,
        }

    def _prefetches(self, value: object, depth: int) -> list[Prefetch]:
        if depth >= MAX_PREFETCH_DEPTH and value:
            raise BadRequest(f"prefetches nest deeper than {MAX_PREFETCH_DEPTH}")
        return [self._prefetch(item, depth) for item in (value if isinstance(value, list) else [value])]

    def _prefetch(self, value: object, depth: int) -> Prefetch:
        fields = Fields(value, "prefetch")
        limit = self._bounded(fields.take("limit", DEFAULT_LIMIT), "prefetch.limit", 1)
        parts = self._parts(fields, limit, depth + 1)
        fields.done()
        with building("prefetch"):
            return Prefetch(limit=limit, **parts)

    def _query(self, value: object, using: str, limit: int, prefetches: list[Prefetch]) -> tuple[Any, PointId | None]:
        """Return the engine's query, and the point that was named as the query and must not find itself."""
        if value is None:
            return None, None
        if not isinstance(value, dict) or "indices" in value:
            vector, excluded = self._vector(value, using)
            return Query.Nearest(vector, using=using), excluded
        fields = Fields(value, "query")
        if "nearest" in fields:
            found = self._nearest(fields, using, limit)
        elif "fusion" in fields or "rrf" in fields:
            found = _fusion(fields, prefetches), None
        elif "order_by" in fields:
            found = read_order(fields.take("order_by")), None
        elif "sample" in fields:
            one_of(fields.take("sample"), "sample", ("random",))
            found = Sample.Random, None
        else:
            raise Unsupported(f"query of kind {', '.join(sorted(value)) or 'none'}")
        fields.done()
        return found

    def _nearest(self, fields: Fields, using: str, limit: int) -> tuple[Any, PointId | None]:
        vector, excluded = self._vector(fields.need("nearest"), using)
        if "mmr" not in fields:
            return Query.Nearest(vector, using=using), excluded
        mmr = Fields(fields.take("mmr"), "mmr")
        diversity = number(mmr.take("diversity", MMR_DIVERSITY), "mmr.diversity")
        candidates = self._bounded(mmr.take("candidates_limit", limit), "mmr.candidates_limit", 1)
        mmr.done()
        if not 0 <= diversity <= 1:
            raise BadRequest("mmr.diversity lies between 0 and 1")
        # the engine's lambda weighs relevance, Qdrant's diversity the opposite
        return Mmr(vector, 1 - diversity, candidates, using), excluded

    def _vector(self, value: object, using: str) -> tuple[Any, PointId | None]:
        self.schema.check_name(using)
        if isinstance(value, int | str):
            identity = point_id(value)
            return self.vector_of(identity, using), identity
        return named_vector(self.schema, using, value), None


def _fusion(fields: Fields, prefetches: list[Prefetch]) -> Any:
    if not prefetches:
        raise BadRequest("cannot make a fusion query without prefetches")
    if "rrf" in fields:
        params = Fields(fields.take("rrf"), "rrf")
        k = integer(params.take("k", RRF_K), "rrf.k", 1)
        weights = params.take("weights")
        params.done()
        if weights is not None and len(items(weights, "rrf.weights")) != len(prefetches):
            raise BadRequest("rrf.weights: one per prefetch")
        return Fusion.Rrf(k, None if weights is None else [number(weight, "rrf.weights") for weight in weights])
    kind = one_of(fields.take("fusion"), "fusion", ("rrf", "dbsf"))
    return Fusion.Rrf(RRF_K) if kind == "rrf" else Fusion.Dbsf()


def read_order(value: object) -> OrderBy:
    """Return an order: a key, or an object with direction and start. Raises BadRequest, Malformed, Unsupported."""
    fields = Fields({"key": value} if isinstance(value, str) else value, "order_by")
    key = text(fields.need("key"), "order_by.key")
    direction = one_of(fields.take("direction", "asc"), "order_by.direction", ("asc", "desc"))
    start = fields.take("start_from")
    fields.done()
    with building("order_by"):
        return OrderBy(key, Direction.Asc if direction == "asc" else Direction.Desc, start)


def with_payload(value: object) -> Any:
    """Return the engine's payload selector of true, false, a list of keys, include or exclude."""
    if isinstance(value, bool):
        return value
    if isinstance(value, list):
        value = {"include": value}
    fields = Fields(value, "with_payload")
    kind: Any = PayloadSelector.Exclude if "exclude" in fields else PayloadSelector.Include
    keys = texts(fields.take("exclude", fields.take("include", [])), "with_payload")
    fields.done()
    with building("with_payload"):
        return kind(keys)


def with_vector(schema: Schema, value: object) -> bool | list[str]:
    """Return which vectors an answer shows. Raises BadRequest for a vector that the collection does not have."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, list):
        raise Malformed("with_vector: expected true, false or a list of names")
    for name in texts(value, "with_vector"):
        schema.check_name(name)
    return value


def _search_params(value: object) -> SearchParams | None:
    """All searches are exact: what tunes an approximate index is read and has nothing to tune."""
    if value is None:
        return None
    fields = Fields(value, "params")
    flag(fields.take("exact", True), "params.exact")
    flag(fields.take("indexed_only", False), "params.indexed_only")
    integer(fields.take("hnsw_ef", 0), "params.hnsw_ef")
    corpus = fields.take("idf")
    fields.done()
    if corpus is None or corpus == "global":
        return None
    idf = Fields(corpus, "params.idf")
    within = read_filter(idf.need("corpus"))
    idf.done()
    return SearchParams(exact=True, idf=IdfParams(within))
