"""The vector door over HTTP against the engine it wraps and against the client's own local mode, in one run.

    python -m bench.vector_door [--points 20000] [--queries 200] [--local-points 5000]

Points look like chunks: a 384-number dense vector, a sparse vector of 40 terms, a kilobyte of text, one of ten
workspaces. Every figure of the door is followed by its ratio to a reference taken on the same machine in the same run.
"""

import argparse
import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from qdrant_client import AsyncQdrantClient, models
from qdrant_edge import (
    EdgeShard,
    FieldCondition,
    Filter,
    MatchValue,
    PayloadSchemaType,
    Point,
    Query,
    QueryRequest,
    SparseVector,
    UpdateOperation,
)

from infra.qdrant.client import open_client
from infra.qdrant.collections import ensure_collection
from infra.qdrant.door.schema import Schema
from tests.live.qdrant.doors import Door

DIMENSION, TERMS, BATCH, WRITERS, TOP = 384, 40, 64, 4, 20
NAME = "bench"
WORKSPACE = models.Filter(must=[models.FieldCondition(key="workspace", match=models.MatchValue(value="w3"))])


@dataclass(frozen=True, slots=True)
class Corpus:
    """Vectors of all points, and of the queries."""

    dense: np.ndarray[Any, Any]
    sparse: np.ndarray[Any, Any]
    queries: list[list[float]]

    @classmethod
    def make(cls, points: int, queries: int) -> "Corpus":
        """Return random vectors; exact search does not care how they are spread."""
        random = np.random.default_rng(1)
        dense = random.normal(size=(points, DIMENSION)).astype("f4")
        sparse = np.argsort(random.random((points, 400)), axis=1)[:, :TERMS]
        return cls(dense, sparse, random.normal(size=(queries, DIMENSION)).astype("f4").tolist())

    def payload(self, n: int) -> dict[str, Any]:
        """Return a point's payload."""
        return {"workspace": f"w{n % 10}", "document": f"d{n // 8}", "version": 1, "part": "chunk", "text": "x" * 1000}

    def struct(self, n: int) -> models.PointStruct:
        """Return a point for the client."""
        sparse = models.SparseVector(indices=self.sparse[n].tolist(), values=[1.0] * TERMS)
        vector: Any = {"dense": self.dense[n].tolist(), "sparse": sparse}
        return models.PointStruct(id=n, vector=vector, payload=self.payload(n))

    def point(self, n: int) -> Point:
        """Return a point for the engine."""
        sparse = SparseVector(self.sparse[n].tolist(), [1.0] * TERMS)
        return Point(n, {"dense": self.dense[n].tolist(), "sparse": sparse}, self.payload(n))


async def timed(calls: list[Callable[[], Awaitable[Any]]]) -> np.ndarray[Any, Any]:
    """Return the milliseconds of each call, made one after another; the first ones warm up and are left out."""
    taken = []
    for call in calls:
        started = time.perf_counter()
        await call()
        taken.append((time.perf_counter() - started) * 1000)
    return np.array(taken[len(taken) // 10 :])


def searches(client: AsyncQdrantClient, corpus: Corpus, condition: models.Filter | None) -> list[Any]:
    """Return one search per query."""
    return [
        lambda query=query: client.query_points(
            NAME, query=query, using="dense", limit=TOP, query_filter=condition, with_payload=True
        )
        for query in corpus.queries
    ]


def engine_searches(shard: EdgeShard, corpus: Corpus, condition: Filter | None) -> list[Any]:
    """Return the same searches in process."""

    def call(query: list[float]) -> Callable[[], Awaitable[Any]]:
        async def search() -> Any:
            nearest = Query.Nearest(query, using="dense")
            return shard.query(QueryRequest(limit=TOP, query=nearest, filter=condition, with_payload=True))

        return search

    return [call(query) for query in corpus.queries]


async def upsert(client: AsyncQdrantClient, corpus: Corpus, points: int, writers: int) -> float:
    """Upsert in batches, waiting for each to be on disk; return points per second."""
    starts = iter(range(0, points, BATCH))

    async def write() -> None:
        for start in starts:
            await client.upsert(NAME, [corpus.struct(n) for n in range(start, min(points, start + BATCH))], wait=True)

    started = time.perf_counter()
    await asyncio.gather(*(write() for _ in range(writers)))
    return points / (time.perf_counter() - started)


def fill_engine(shard: EdgeShard, corpus: Corpus, points: int) -> float:
    """Upsert the same batches in process, flushed each; return points per second."""
    started = time.perf_counter()
    for start in range(0, points, BATCH):
        chunk = [corpus.point(n) for n in range(start, min(points, start + BATCH))]
        shard.update(UpdateOperation.upsert_points(chunk))
        shard.flush()
    return points / (time.perf_counter() - started)


def line(what: str, door: np.ndarray[Any, Any], other: np.ndarray[Any, Any], reference: str) -> None:
    """Print one comparison."""
    (d50, d99), (o50, o99) = np.percentile(door, [50, 99]), np.percentile(other, [50, 99])
    print(
        f"{what:<22} p50 {d50:7.2f} ms  p99 {d99:7.2f} ms   "
        f"{reference} {o50:8.2f} / {o99:8.2f} ms   ratio {d50 / o50:6.2f} / {d99 / o99:6.2f}"
    )


def memory(door: Door) -> str:
    """Return the door's memory in MB."""
    full = psutil.Process(door.pid).memory_full_info()
    return f"door rss {full.rss / 2**20:.0f} MB, pss {full.pss / 2**20:.0f} MB"


async def against_engine(client: AsyncQdrantClient, corpus: Corpus, folder: Path, points: int) -> None:
    """Compare the door with the engine in this process."""
    schema = Schema({"dense": (DIMENSION, "Cosine")}, {"sparse": "idf"})
    shard = EdgeShard.create(str(folder), schema.engine_config())
    for field, kind in (("workspace", PayloadSchemaType.Keyword), ("version", PayloadSchemaType.Integer)):
        shard.update(UpdateOperation.create_field_index(field, kind))
    alone = fill_engine(shard, corpus, points)
    rate = await upsert(client, corpus, points, WRITERS)
    print(f"upsert, {WRITERS} writers, durable   {rate:,.0f} points/s   engine {alone:,.0f}   ratio {rate / alone:.2f}")
    inner = Filter(must=[FieldCondition("workspace", match=MatchValue("w3"))])
    for what, outer, own in (("search, filtered", WORKSPACE, inner), ("search, unfiltered", None, None)):
        door = await timed(searches(client, corpus, outer))
        line(what, door, await timed(engine_searches(shard, corpus, own)), "engine")
    shard.close()


async def against_local_mode(client: AsyncQdrantClient, corpus: Corpus, points: int) -> None:
    """Compare the door with the client's local mode, both holding `points` points."""
    local = AsyncQdrantClient(":memory:")
    for each in (client, local):
        await each.delete_collection(NAME)
    await ensure_collection(client, NAME, DIMENSION)
    await local.create_collection(
        NAME,
        vectors_config={"dense": models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)},
        sparse_vectors_config={"sparse": models.SparseVectorParams(modifier=models.Modifier.IDF)},
    )
    door, other = await upsert(client, corpus, points, WRITERS), await upsert(local, corpus, points, 1)
    print(f"upsert, {points:,} points   {door:,.0f} points/s   local mode {other:,.0f}   ratio {door / other:.2f}")
    for what, condition in (("search, filtered", WORKSPACE), ("search, unfiltered", None)):
        few = Corpus(corpus.dense, corpus.sparse, corpus.queries[:50])
        ours = await timed(searches(client, few, condition))
        line(what, ours, await timed(searches(local, few, condition)), "local mode")
    await local.close()


async def run(points: int, queries: int, local_points: int) -> None:
    """Start a door of its own, measure, stop it."""
    corpus = Corpus.make(max(points, local_points), queries)
    folder = Path(tempfile.mkdtemp(prefix="bench-door-"))
    door = Door(folder / "root")
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        await door.start()
        stack.push_async_callback(door.kill)
        client = await stack.enter_async_context(open_client(door.settings))
        print(f"empty: {memory(door)}")
        await ensure_collection(client, NAME, DIMENSION)
        await against_engine(client, corpus, folder / "engine", points)
        print(f"{points:,} points: {memory(door)}")
        await against_local_mode(client, corpus, local_points)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--local-points", type=int, default=2_000)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.points, arguments.queries, arguments.local_points))


if __name__ == "__main__":
    main()
