from collections.abc import Sequence

import numpy as np
import pytest
from structlog.testing import capture_logs

from infra.errors import Transient
from infra.models.encoder import FloatArray
from infra.models.hashed import HashEncoder
from infra.redis.query_vectors import QueryVectors
from infra.telemetry.metrics import REGISTRY
from workers.retriever import embed
from workers.retriever.embed import QuestionEmbedder


class Counting(HashEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.encoded: list[str] = []

    async def _vectors(self, texts: Sequence[str], use: str) -> FloatArray:  # type: ignore[override]
        self.encoded.extend(texts)
        return await super()._vectors(texts, "query")


class Cache(QueryVectors):
    """A cache in memory that can go away."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str, str], FloatArray] = {}
        self.away = False
        self.asked = 0

    async def get(self, workspace: str, model: str, text: str, dimension: int) -> FloatArray | None:
        self._check()
        return self.kept.get((workspace, model, text))

    async def put(self, workspace: str, model: str, text: str, vector: FloatArray) -> None:
        self._check()
        self.kept[workspace, model, text] = vector

    def _check(self) -> None:
        self.asked += 1
        if self.away:
            raise Transient("redis", "ConnectionError")


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("millrace_query_vectors_total", {"outcome": outcome}) or 0.0


async def test_without_a_cache_every_question_is_encoded() -> None:
    encoder = Counting()
    embedder = QuestionEmbedder()
    first = await embedder.embed(encoder, "acme", "keys")
    assert np.array_equal(first, await embedder.embed(encoder, "acme", "keys"))
    assert encoder.encoded == ["keys", "keys"]


async def test_a_question_asked_again_is_not_encoded_again() -> None:
    encoder, cache = Counting(), Cache()
    embedder = QuestionEmbedder(cache)
    hits = counted("hit")
    first = await embedder.embed(encoder, "acme", "keys")
    assert np.array_equal(first, await embedder.embed(encoder, "acme", "keys"))
    assert encoder.encoded == ["keys"]
    assert counted("hit") == hits + 1
    await embedder.embed(encoder, "globex", "keys")
    assert encoder.encoded == ["keys", "keys"]


async def test_a_cache_that_is_away_is_said_once_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, cache = Counting(), Cache()
    embedder = QuestionEmbedder(cache)
    cache.away = True
    before = counted("unavailable")
    with capture_logs() as logs:
        for _ in range(5):
            assert len(await embedder.embed(encoder, "acme", "keys")) == encoder.dimension
    assert len([entry for entry in logs if entry["log_level"] == "warning"]) == 1
    assert cache.asked == 1
    assert counted("unavailable") == before + 5
    monkeypatch.setattr(embed, "AWAY_S", 0.0)
    embedder._away_until = 0.0
    cache.away = False
    with capture_logs() as logs:
        await embedder.embed(encoder, "acme", "keys")
        await embedder.embed(encoder, "acme", "keys")
    assert [entry["event"] for entry in logs] == ["the query vector cache is back"]
    assert len(encoder.encoded) == 6


async def test_a_cache_that_fails_while_keeping_costs_nothing() -> None:
    class Full(Cache):
        async def put(self, workspace: str, model: str, text: str, vector: FloatArray) -> None:
            raise Transient("redis", "OutOfMemoryError")

    embedder = QuestionEmbedder(Full())
    assert len(await embedder.embed(Counting(), "acme", "keys")) == 64
