"""What the engine returns -> Qdrant's JSON."""

from typing import Any

from qdrant_edge import Record, ScoredPoint, SparseVector


def record(found: Record) -> dict[str, Any]:
    """Return a stored point."""
    answer: dict[str, Any] = {"id": found.id, "payload": found.payload, "vector": _vector(found.vector)}
    if found.order_value is not None:
        answer["order_value"] = found.order_value
    return answer


def scored(found: ScoredPoint, with_vector: bool | list[str]) -> dict[str, Any]:
    """Return a hit. MMR loads vectors for itself: they are shown only if they were asked for."""
    answer: dict[str, Any] = {
        "id": found.id,
        "version": found.version,
        "score": found.score,
        "payload": found.payload,
        "vector": _vector(found.vector) if with_vector else None,
    }
    if found.order_value is not None:
        answer["order_value"] = found.order_value
    return answer


def _vector(vector: Any) -> Any:
    if isinstance(vector, dict):
        return {name: _plain(value) for name, value in vector.items()}
    return vector


def _plain(vector: Any) -> Any:
    return {"indices": vector.indices, "values": vector.values} if isinstance(vector, SparseVector) else vector
