"""What a collection holds: its named vectors. Validated when the collection is made, stored, given to the engine.

Every search is exact: the indexing threshold is out of reach, so no HNSW graph is ever built. Building one would hold
the interpreter lock for minutes (measured: 85 s at 100,000 points), and exact search answers in milliseconds.
Settings that tune Qdrant's approximate index are therefore kept and shown, and change nothing.
"""

from dataclasses import dataclass, field
from typing import Any

from qdrant_edge import (
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeSparseVectorParams,
    EdgeVectorParams,
    Modifier,
)

from infra.qdrant.door.faults import BadRequest, Unsupported
from infra.qdrant.door.reading import Fields, flag, integer, one_of, payload

NEVER = 1_000_000_000
"""Indexing threshold in kilobytes that no local collection reaches."""
MAX_DIMENSION = 65_536
"""Qdrant's own limit on a dense vector's size."""

_DISTANCES = {
    "Cosine": Distance.Cosine,
    "Euclid": Distance.Euclid,
    "Dot": Distance.Dot,
    "Manhattan": Distance.Manhattan,
}
_SINGLE = ("shard_number", "replication_factor", "write_consistency_factor")
_TUNING = ("hnsw_config", "optimizers_config", "wal_config")


@dataclass(frozen=True, slots=True)
class Schema:
    """Vectors of a collection by name (the unnamed vector is `""`), and what else its creator said."""

    dense: dict[str, tuple[int, str]]
    """Name -> (dimension, distance)."""
    sparse: dict[str, str | None]
    """Name -> modifier (`idf` or None)."""
    definition: dict[str, Any] = field(default_factory=dict)
    """The request body that made it, as stored."""

    def check_name(self, name: str) -> None:
        """Raises BadRequest for a vector that the collection does not have."""
        if name not in self.dense and name not in self.sparse:
            raise BadRequest(f"Not existing vector name error: {name}")

    def engine_config(self) -> EdgeConfig:
        """Return the configuration of a new shard."""
        return EdgeConfig(
            vectors={name: EdgeVectorParams(size, _DISTANCES[kind]) for name, (size, kind) in self.dense.items()},
            sparse_vectors={
                name: EdgeSparseVectorParams(modifier=Modifier.Idf if modifier else None)
                for name, modifier in self.sparse.items()
            },
            # more threads bring nothing: the caller holds the interpreter lock while they work
            max_search_threads=1,
            optimizers=EdgeOptimizersConfig(indexing_threshold=NEVER),
        )


def read_schema(body: dict[str, Any]) -> Schema:
    """Return the schema of a create request. Raises BadRequest, Malformed, Unsupported."""
    fields = Fields(body, "create collection")
    dense = _dense(fields.take("vectors", {}))
    sparse = _sparse(fields.take("sparse_vectors", {}))
    for name in _SINGLE:
        if integer(fields.take(name, 1), name, 1) != 1:
            raise Unsupported(f"{name} other than 1")
    for name in (*_TUNING, "metadata"):
        payload(fields.take(name, {}), name)
    flag(fields.take("on_disk_payload", False), "on_disk_payload")
    fields.done()
    if overlap := dense.keys() & sparse.keys():
        raise BadRequest(f"dense and sparse vectors share the name {min(overlap)}")
    return Schema(dense, sparse, body)


def _dense(value: Any) -> dict[str, tuple[int, str]]:
    payload(value, "vectors")
    if "size" in value and not isinstance(value["size"], dict):
        return {"": _dense_params(value, "vectors")}
    return {name: _dense_params(params, f"vectors.{name}") for name, params in value.items()}


def _dense_params(value: object, where: str) -> tuple[int, str]:
    fields = Fields(value, where)
    size = integer(fields.need("size"), f"{where}.size", 1)
    if size > MAX_DIMENSION:
        raise BadRequest(f"{where}.size: at most {MAX_DIMENSION}")
    distance = one_of(fields.need("distance"), f"{where}.distance", tuple(_DISTANCES))
    payload(fields.take("hnsw_config", {}), f"{where}.hnsw_config")
    flag(fields.take("on_disk", False), f"{where}.on_disk")
    if fields.take("datatype", "float32") != "float32":
        raise Unsupported(f"{where}.datatype other than float32")
    fields.done()
    return size, distance


def _sparse(value: Any) -> dict[str, str | None]:
    return {
        name: _modifier(params, f"sparse_vectors.{name}") for name, params in payload(value, "sparse_vectors").items()
    }


def _modifier(value: object, where: str) -> str | None:
    fields = Fields(value, where)
    payload(fields.take("index", {}), f"{where}.index")
    modifier = one_of(fields.take("modifier", "none"), f"{where}.modifier", ("none", "idf"))
    fields.done()
    return None if modifier == "none" else modifier
