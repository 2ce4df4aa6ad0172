"""The embedder as it is started: settings, registry, weights, door."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from qdrant_client import AsyncQdrantClient, models

from infra.models.sparse import query_vector
from infra.postgres import indexes
from infra.postgres.indexes import IndexMismatchError
from infra.postgres.pool import open_pool
from infra.qdrant.points import DENSE, SPARSE, Key, chunks_of
from infra.settings import PostgresSettings, load
from tests.deliveries import delivery
from tests.events import document
from workers.embedder.worker import embed, open_tools, worker


@pytest.fixture
async def environment(
    postgres: dict[str, str], door: dict[str, str], client: AsyncQdrantClient, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[str]:
    """The environment of an embedder of an index of its own; yields the collection's name."""
    index = f"test-{uuid4().hex[:8]}"
    for name, value in (postgres | door | {"MILLRACE_INDEX_ID": index}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MILLRACE_ENCODER", raising=False)
    yield f"millrace_{index}"
    await client.delete_collection(f"millrace_{index}")
    async with open_pool(load(PostgresSettings)) as pool:
        await pool.execute("delete from indexes where index_id = $1", index)


async def test_meaning_and_words_are_found_and_its_index_is_registered(
    environment: str, client: AsyncQdrantClient, weights: None
) -> None:
    texts = {
        "broker": "When the leader of a partition dies, a follower takes over within seconds.",
        "bread": "Knead the dough for ten minutes and let it rise until it has doubled.",
        "issue": "MILL-431 was closed because the login page loaded twice.",
    }
    async with open_tools() as tools:
        versions = [document(text, external_id=name, language="en") for name, text in texts.items()]
        receipts = await embed([delivery(version) for version in versions], tools)
        assert all(outgoing.body.outcome == "applied" for outgoing in receipts)  # type: ignore[attr-defined]
        query = await tools.turns.encoder.encode_query("What happens on failure of a Kafka server?")
        found = await client.query_points(
            environment, query=query.tolist(), using=DENSE, query_filter=chunks_of("acme"), limit=3, with_payload=True
        )
        assert (found.points[0].payload or {})[Key.TEXT] == texts["broker"]
        terms = query_vector("mill-431")
        sparse = models.SparseVector(indices=list(terms.indices), values=list(terms.values))
        found = await client.query_points(
            environment, query=sparse, using=SPARSE, query_filter=chunks_of("acme"), limit=3, with_payload=True
        )
        assert (found.points[0].payload or {})[Key.TEXT] == texts["issue"]
        assert worker.group_id == f"millrace.embedder.{tools.index_id}"
        async with open_pool(load(PostgresSettings)) as pool:
            row = await indexes.get(pool, tools.index_id)
    assert row is not None
    assert (row.model, row.dimension, row.collection) == ("all-MiniLM-L6-v2", 384, environment)


async def test_another_model_stops_the_start_and_says_what_to_do(
    environment: str, monkeypatch: pytest.MonkeyPatch, weights: None
) -> None:
    async with open_tools():
        pass
    monkeypatch.setenv("MILLRACE_ENCODER", "hash")
    with pytest.raises(IndexMismatchError, match=r"MILLRACE_ENCODER back.*MILLRACE_INDEX_ID"):
        async with open_tools():
            pass
