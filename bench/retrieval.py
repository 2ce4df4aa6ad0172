"""Retrieval quality through the code that runs in production, against the figures of decision 0005.

    python -m bench.retrieval scifact locomo --cache FOLDER

Real encoder, real vector door in a process of its own, `workers.retriever`. Every line is measured in this run; the
reference column repeats what the recipe gave where it was tuned and tested. Needs MILLRACE_TEST_DATA.
"""

import argparse
import asyncio
import math
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any, Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr
from qdrant_client import AsyncQdrantClient

from bench.corpora import Collection, Judged, locomo, scifact
from bench.indexing import index_collection
from infra.local.artifacts import model_folder
from infra.local.fetch import fetch_model
from infra.models.encoder import Encoder
from infra.models.openvino import OpenVinoEncoder
from infra.models.sparse import query_vector, tokenise
from infra.postgres.indexes import Index
from infra.qdrant.client import open_client, ready
from infra.qdrant.points import chunks_of
from infra.settings import QdrantSettings
from schemas.chat import ChatMessage, ChatPrompt, ChatRequest, ReplyTo
from schemas.event import now
from schemas.ids import deterministic_id
from workers.inference.backends.extractive import answer_from
from workers.inference.settings import ExtractiveSettings
from workers.retriever.embed import QuestionEmbedder
from workers.retriever.retrieve import Retrieved, Retriever
from workers.retriever.settings import RetrieverSettings
from workers.retriever.store import Found, IndexReader

MODEL = "all-MiniLM-L6-v2"
CANDIDATES = 100
RRF_K = 60
REFERENCE = {
    ("SciFact", "dense"): 0.645, ("SciFact", "sparse"): 0.666, ("SciFact", "rrf"): 0.687, ("SciFact", "recipe"): 0.739,
    ("LoCoMo", "dense"): 0.509, ("LoCoMo", "sparse"): 0.531, ("LoCoMo", "rrf"): 0.597, ("LoCoMo", "recipe"): 0.761,
}  # fmt: skip
"""nDCG@10 and evidence recall@10. The reference's sparse and rrf lines are without stemming and fields; its recipe has
both, and for messages the two before each as fields."""

Floats = NDArray[np.float64]


@asynccontextmanager
async def door(root: Path) -> AsyncIterator[AsyncQdrantClient]:
    """Run a vector door and yield its client."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "MILLRACE_DOOR_ROOT": str(root),
        "MILLRACE_DOOR_PORT": str(port),
        "QDRANT_API_KEY": "bench",
    }
    command = [sys.executable, "-m", "infra.qdrant.door"]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.DEVNULL)
    try:
        settings = QdrantSettings(url=f"http://127.0.0.1:{port}", api_key=SecretStr("bench"), timeout_s=60)
        async with open_client(settings) as client:
            await _answering(client)
            yield client
    finally:
        process.terminate()
        await process.wait()


async def _answering(client: AsyncQdrantClient) -> None:
    from infra.errors import Transient

    deadline = perf_counter() + 30
    while True:
        try:
            return await ready(client)
        except Transient:
            if perf_counter() > deadline:
                raise
            await asyncio.sleep(0.05)


def ranked(documents: Sequence[UUID]) -> list[UUID]:
    """Return each document once, at its best place."""
    return list(dict.fromkeys(documents))


def ndcg(found: Sequence[UUID], gains: Mapping[UUID, int], depth: int = 10) -> float:
    """Normalised discounted cumulative gain (Järvelin and Kekäläinen 2002), as trec_eval computes it."""
    got = sum(gains.get(one, 0) / math.log2(at + 2) for at, one in enumerate(found[:depth]))
    ideal = sum(gain / math.log2(at + 2) for at, gain in enumerate(sorted(gains.values(), reverse=True)[:depth]))
    return got / ideal if ideal else 0.0


def recall(found: Sequence[UUID], gains: Mapping[UUID, int], depth: int = 10) -> float:
    """Share of the relevant that is among the first `depth`."""
    return len(set(found[:depth]) & gains.keys()) / len(gains)


def reciprocal(found: Found) -> list[str]:
    """Reciprocal-rank fusion (Cormack et al. 2009), k = 60."""
    scores: dict[str, float] = {}
    for scored in (found.dense, found.sparse):
        for rank, point in enumerate(sorted(scored, key=lambda one: -scored[one]), start=1):
            scores[point] = scores.get(point, 0.0) + 1 / (RRF_K + rank)
    return sorted(scores, key=lambda one: -scores[one])


def asking(asked: Judged, purpose: Literal["query", "search"], top_k: int) -> ChatRequest:
    """Return the request that a gateway would publish for a question."""
    at = now()
    return ChatRequest(
        workspace=asked.workspace,
        request_id=deterministic_id("bench", asked.text),
        conversation_id=deterministic_id("bench", asked.workspace),
        messages=(ChatMessage(role="user", content=asked.text),),
        purpose=purpose,
        top_k=top_k,
        reply_to=ReplyTo(partition=0, gateway="bench"),
        accepted_at=at,
        deadline=at + timedelta(hours=1),
    )


class Bench:
    """One collection in an index, asked all its questions."""

    def __init__(self, client: AsyncQdrantClient, collection: Collection, encoder: Encoder, name: str) -> None:
        self._client, self._collection, self._encoder, self._name = client, collection, encoder, name
        self._ids = {one.external_id: one.document_id for one in collection.documents}
        self._measure: Callable[..., float] = recall if collection.name == "LoCoMo" else ndcg
        self.times: list[float] = []
        self.contained: list[bool] = []

    def _retriever(self) -> Retriever:
        async def live() -> Index:
            return Index("bench", self._name, self._encoder.model_id, self._encoder.dimension, "live")

        return Retriever(self._client, live, lambda _: self._encoder, QuestionEmbedder(), RetrieverSettings())

    async def run(self) -> dict[str, Floats]:
        """Return each question's measure, by method."""
        retriever, reader = self._retriever(), IndexReader(self._client, self._name)
        values: dict[str, list[float]] = {"dense": [], "sparse": [], "rrf": [], "recipe": []}
        for asked in self._collection.questions:
            gains = {self._ids[name]: gain for name, gain in asked.relevant.items() if name in self._ids}
            for method, documents in (await self._lists(reader, asked)).items():
                values[method].append(self._measure(ranked(documents), gains))
            wanted = asking(asked, "search", 30)
            documents = [one.document_id for one in (await self._timed(retriever, wanted)).passages]
            values["recipe"].append(self._measure(ranked(documents), gains))
            if any(asked.evidence.values()):
                await self._contains(retriever, asked)
        return {method: np.array(measured) for method, measured in values.items()}

    async def _timed(self, retriever: Retriever, wanted: ChatRequest) -> Retrieved:
        started = perf_counter()
        found = await retriever.retrieve(wanted)
        self.times.append(perf_counter() - started)
        return found

    async def _lists(self, reader: IndexReader, asked: Judged) -> dict[str, list[UUID]]:
        found = await reader.search(
            asked.workspace,
            chunks_of(asked.workspace),
            dense=await self._encoder.encode_query(asked.text),
            sparse=query_vector(asked.text),
            terms=list(dict.fromkeys(tokenise(asked.text))),
            limit=CANDIDATES,
        )
        orders = {
            "dense": sorted(found.dense, key=lambda one: -found.dense[one]),
            "sparse": sorted(found.sparse, key=lambda one: -found.sparse[one]),
            "rrf": reciprocal(found),
        }
        return {method: [found.spans[point].document for point in order] for method, order in orders.items()}

    async def _contains(self, retriever: Retriever, asked: Judged) -> None:
        """Note whether a sentence that the annotators marked is among the extractive answerer's one or two.

        Only where a marked document is among the passages: the rest is retrieval's loss, not the answerer's.
        """
        wanted = asking(asked, "query", 5)
        found = await retriever.retrieve(wanted)
        marked = {(self._ids[name], span) for name, spans in asked.evidence.items() for span in spans}
        if {document for document, _ in marked} & {one.document_id for one in found.passages}:
            prompt = ChatPrompt(
                workspace=asked.workspace,
                request=wanted,
                question=asked.text,
                passages=found.passages,
                term_weights=found.term_weights,
                messages=wanted.messages,
            )
            answer = answer_from(prompt, ExtractiveSettings(abstain_below=0.0))
            told = {(one.document_id, (one.start, one.end)) for one in answer.citations}
            self.contained.append(any(_overlaps(told, one) for one in marked))


def _overlaps(told: set[tuple[UUID, tuple[int, int]]], marked: tuple[UUID, tuple[int, int]]) -> bool:
    document, (start, end) = marked
    return any(one == document and min(end, to) > max(start, at) for one, (at, to) in told)


def interval(values: Floats) -> str:
    """95 % bootstrap interval of the mean over questions."""
    draws = np.random.default_rng(0).integers(0, len(values), (2_000, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), (0.025, 0.975))
    return f"[{low:+.3f}, {high:+.3f}]"


def report(bench: Bench, title: str, name: str, values: Mapping[str, Floats]) -> None:
    """Print one table."""
    print(f"\n{title}: {len(values['recipe'])} questions, {'recall' if name == 'LoCoMo' else 'nDCG'}@10")
    print(f"{'':8} {'here':>6} {'reference':>10} {'ratio':>6}   recipe minus it")
    for method, measured in values.items():
        mean, reference = float(measured.mean()), REFERENCE[name, method]
        gain = (
            ""
            if method == "recipe"
            else f"{values['recipe'].mean() - mean:+.3f} {interval(values['recipe'] - measured)}"
        )
        print(f"{method:8} {mean:6.3f} {reference:10.3f} {mean / reference:6.2f}   {gain}")
    print(f"recipe {interval(values['recipe'])}")
    milliseconds = np.array(bench.times) * 1_000
    print(f"one retrieval: p50 {np.median(milliseconds):.1f} ms, p95 {np.quantile(milliseconds, 0.95):.1f} ms")
    if bench.contained:
        share = np.array(bench.contained).mean()
        print(
            f"extractive answer holds a marked sentence: {share:.3f} of {len(bench.contained)} claims with their source"
        )


async def measure(collection: Collection, title: str, encoder: Encoder, arguments: Any) -> None:
    """Index `collection`, ask, print."""
    with tempfile.TemporaryDirectory() as root:
        async with door(Path(root) / "door") as client:
            name = await index_collection(client, collection, encoder, arguments.cache)
            bench = Bench(client, collection, encoder, name)
            report(bench, title, collection.name, await bench.run())


async def main(arguments: Any) -> None:
    """Run what was asked for."""
    if (task := asyncio.current_task()) is not None:
        # A bench that is stopped must not leave its door behind.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    data = Path(os.environ.get("MILLRACE_TEST_DATA", "../shared/data"))
    await fetch_model(MODEL)
    encoder = OpenVinoEncoder.open(model_folder(MODEL), MODEL)
    try:
        if "locomo" in arguments.collections:
            conversations = locomo(data / "locomo" / "locomo5.json.gz")
            await measure(replace(conversations, context={}), "LoCoMo, each message alone", encoder, arguments)
            await measure(conversations, "LoCoMo, the two messages before as fields", encoder, arguments)
        if "scifact" in arguments.collections:
            await measure(scifact(data / "scifact", whole=True), "SciFact, whole abstracts", encoder, arguments)
        if "scifact-chunks" in arguments.collections:
            await measure(scifact(data / "scifact", whole=False), "SciFact, the pipeline's chunks", encoder, arguments)
    finally:
        await encoder.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collections", nargs="+", choices=["scifact", "scifact-chunks", "locomo"])
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "millrace-bench")
    asyncio.run(main(parser.parse_args()))
