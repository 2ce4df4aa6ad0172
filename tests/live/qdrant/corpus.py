"""A small fixed corpus for searches, in which no two points score the same: an order is an order."""

from typing import Any

import numpy as np
from qdrant_client import AsyncQdrantClient, models

POINTS, DIMENSION = 60, 8
KINDS = ("issue", "page", "message")
_random = np.random.default_rng(20)
VECTORS = _random.normal(size=(POINTS, DIMENSION)).astype("f4")
QUERY: list[float] = VECTORS[7].tolist()


def sparse(n: int) -> models.SparseVector:
    return models.SparseVector(indices=[n % 7, 10 + n % 11, 30 + n], values=[1 + n / 100, 2 + n / 90, 0.5])


def payload(n: int) -> dict[str, Any]:
    content: dict[str, Any] = {
        "part": "chunk",
        "workspace": "red" if n % 2 else "blue",
        "document": f"doc-{n // 4}",
        "version": n,
        "kind": KINDS[n % 3],
        "authors": [f"ann{n % 5}", "bob"] if n % 4 else [],
        "updated_at": 1_700_000_000.5 + n if n % 6 else None,
        "draft": n % 5 == 0,
        "text": f"point number {n} of the corpus",
        "created": f"2024-01-{n % 28 + 1:02d}T10:00:00Z",
        "links": [{"rel": "next", "n": n}, {"rel": "prev", "n": n + 1}],
    }
    if n % 7 == 0:
        content["metadata"] = {"stage": "live"}
    return content


def corpus() -> list[models.PointStruct]:
    chunks = [
        models.PointStruct(id=n, vector={"dense": VECTORS[n].tolist(), "sparse": sparse(n)}, payload=payload(n))
        for n in range(POINTS)
    ]
    heads = [models.PointStruct(id=1000 + n, vector={}, payload={"part": "head", "version": n}) for n in range(5)]
    return chunks + heads


async def fill(client: AsyncQdrantClient, name: str) -> None:
    await client.create_collection(
        name,
        vectors_config={"dense": models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)},
        sparse_vectors_config={"sparse": models.SparseVectorParams(modifier=models.Modifier.IDF)},
    )
    await client.upsert(name, corpus())
