"""The query vector cache on a real server."""

from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

from infra.errors import Transient
from infra.models.encoder import FloatArray
from infra.models.hashed import HashEncoder
from infra.redis.client import open_redis
from infra.redis.query_vectors import QueryVectors
from tests.valkey import Valkey
from workers.retriever.embed import QuestionEmbedder

UNIT = np.array([0.6, 0.8], dtype=np.float32)


async def kept(cache: QueryVectors, workspace: str = "acme", model: str = "m", text: str = "How?") -> FloatArray | None:
    return await cache.get(workspace, model, text, 2)


async def test_a_vector_comes_back_bit_by_bit(client: Redis) -> None:
    cache = QueryVectors(client, 60)
    assert await kept(cache) is None
    await cache.put("acme", "m", "How?", UNIT)
    found = await kept(cache)
    assert found is not None
    assert found.dtype == np.float32
    assert found.tobytes() == UNIT.tobytes()


async def test_workspace_model_and_text_are_all_part_of_the_key(client: Redis) -> None:
    cache = QueryVectors(client, 60)
    await cache.put("acme", "m", "How?", UNIT)
    assert await kept(cache, workspace="globex") is None
    assert await kept(cache, model="m2") is None
    assert await kept(cache, text="how?") is None


async def test_keys_name_the_workspace_and_hide_the_question(client: Redis) -> None:
    await QueryVectors(client, 60).put("acme", "m", "a private question", UNIT)
    (key,) = await client.keys("*")
    assert key.startswith(b"millrace:query-vector:1:acme:")
    assert b"private" not in key
    assert 0 < await client.ttl(key) <= 60


@pytest.mark.parametrize("value", [b"", b"12345678901", np.array([9, 9], dtype="<f4").tobytes(), b"\xff" * 8])
async def test_a_foreign_value_is_no_vector(client: Redis, value: bytes) -> None:
    cache = QueryVectors(client, 60)
    await cache.put("acme", "m", "How?", UNIT)
    (key,) = await client.keys("*")
    await client.set(key, value)
    assert await kept(cache) is None


async def test_a_wrong_password_is_transient_and_not_shown(own_valkey: Valkey) -> None:
    async with open_redis(own_valkey.settings("sesame")) as client:
        with pytest.raises(Transient) as told:
            await kept(QueryVectors(client, 60))
    assert "sesame" not in str(told.value)


class Counted(QueryVectors):
    """Counts how often the server is asked."""

    asked = 0

    async def get(self, *arguments: Any) -> FloatArray | None:
        self.asked += 1
        return await super().get(*arguments)


async def test_a_server_that_goes_away_costs_little_and_comes_back(own_valkey: Valkey, client: Redis) -> None:
    cache, encoder = Counted(client, 60), HashEncoder()
    embedder = QuestionEmbedder(cache)
    first = await embedder.embed(encoder, "acme", "How?")
    await own_valkey.stop()
    asked = cache.asked
    for _ in range(200):
        assert np.array_equal(await embedder.embed(encoder, "acme", "How?"), first)
    # Once in ten seconds, and not for every question.
    assert cache.asked - asked < 20
    await own_valkey.start()
    embedder._away_until = 0.0
    await embedder.embed(encoder, "acme", "How?")
    assert len(await client.keys("*")) == 1
