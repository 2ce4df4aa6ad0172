"""The served encoder against a real HTTP server that speaks /v1/embeddings and can be told to fail."""

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from infra.errors import Permanent, Transient
from infra.models.encoder import Encoder
from infra.models.hashed import HashEncoder
from infra.models.opening import open_encoder
from infra.models.settings import EncoderSettings
from schemas.dead_letters import Reason
from tests.embeddings import Served, serving


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as state:
        yield state


@pytest.fixture
async def encoder(served: Served) -> AsyncIterator[Encoder]:
    settings = EncoderSettings.model_validate({"encoder": f"openai:{served.url}#small", "api_key": "secret-key"})
    async with open_encoder(settings) as opened:
        yield opened


async def test_dimension_is_learned_and_vectors_are_scaled_in_order(encoder: Encoder, served: Served) -> None:
    assert (encoder.model_id, encoder.dimension) == ("small", 64)
    texts = [f"text number {number} of many" for number in range(150)]
    vectors = await encoder.encode_documents(texts)
    assert np.allclose(vectors, await HashEncoder().encode_documents(texts), atol=1e-6)
    assert [len(request["input"]) for request in served.requests[1:]] == [64, 64, 22]
    assert set(served.keys) == {"Bearer secret-key"}
    assert np.allclose(await encoder.encode_query(texts[3]), vectors[3], atol=1e-6)


async def test_a_short_failure_is_tried_again(encoder: Encoder, served: Served) -> None:
    served.failures = [503, 429]
    assert (await encoder.encode_query("x")).shape == (64,)


async def test_a_long_failure_waits_for_the_server(encoder: Encoder, served: Served) -> None:
    served.failures = [503] * 3
    with pytest.raises(Transient) as fault:
        await encoder.encode_query("x")
    assert (fault.value.dependency, fault.value.retry_after) == ("encoder", 7)


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_wrong_key_or_model_pauses_and_blames_no_record(encoder: Encoder, served: Served, status: int) -> None:
    served.failures = [status]
    with pytest.raises(Transient):
        await encoder.encode_query("x")


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_refused_text_is_dead(encoder: Encoder, served: Served, status: int) -> None:
    served.failures = [status]
    with pytest.raises(Permanent) as fault:
        await encoder.encode_query("private text")
    assert fault.value.reason is Reason.REFUSED_BY_SINK
    assert "private" not in str(fault.value)


@pytest.mark.parametrize(
    ("spoil", "raised"),
    [
        (lambda answer: {"data": answer["data"][:1]}, Transient),
        (lambda answer: {"nothing": 1}, Transient),
        (lambda answer: {"data": [{**entry, "embedding": [1.0]} for entry in answer["data"]]}, Permanent),
        (lambda answer: {"data": [{**entry, "embedding": [0.0] * 64} for entry in answer["data"]]}, Permanent),
        (lambda answer: {"data": [{**entry, "embedding": [None] * 64} for entry in answer["data"]]}, Permanent),
    ],
    ids=["too few", "no list", "wrong dimension", "no direction", "nulls for NaN"],
)
async def test_an_answer_that_is_no_vector_is_not_indexed(
    encoder: Encoder, served: Served, spoil: Any, raised: type[Exception]
) -> None:
    served.spoil = spoil
    with pytest.raises(raised):
        await encoder.encode_documents(["a", "b"])


async def test_a_server_that_is_away_is_waited_for() -> None:
    with pytest.raises(Transient):
        async with open_encoder(EncoderSettings(encoder="openai:http://127.0.0.1:9#small")):
            pass


async def test_a_text_over_the_limit_is_cut(served: Served) -> None:
    settings = EncoderSettings.model_validate({"encoder": f"openai:{served.url}#small", "max_tokens": 10})
    async with open_encoder(settings) as encoder:
        await encoder.encode_query("word " * 1_000)
    assert len(served.requests[-1]["input"][0]) == 40
