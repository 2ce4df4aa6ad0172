"""Vectors over the log, to OpenAI's own client too."""

import struct
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from gateway.connections import Connections
from infra.errors import Transient
from infra.postgres.indexes import Index
from schemas.chat import ChatReply, Embeddings, ReplyError, Usage
from schemas.embedding import EmbeddingRequest
from tests.unit.gateway.conftest import Door

ROWS = ((0.6, 0.8) + (0.0,) * 62, (-1.0,) + (0.0,) * 63)


def reply(request: EmbeddingRequest, **fields: Any) -> ChatReply:
    values = {"kind": "final", "sequence": 0, "gateway": request.reply_to.gateway, "workspace": request.workspace}
    known = {"request_id": request.request_id, "conversation_id": request.request_id}
    return ChatReply.model_validate({**values, **known, **fields})


def encoded(request: EmbeddingRequest) -> list[ChatReply]:
    packed = b"".join(struct.pack("<64f", *row) for row in ROWS[: len(request.texts)])
    vectors = Embeddings(model="hash-64", dimension=64, vectors=packed)
    return [reply(request, embeddings=vectors, usage=Usage(prompt_tokens=9))]


@pytest.fixture(autouse=True)
def encoder(door: Door) -> None:
    door.log.encode = encoded


@pytest.mark.parametrize("form", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
async def test_openais_client_reads_the_same_vectors_in_each_form(client: AsyncOpenAI, form: Any) -> None:
    answer = await client.embeddings.create(model="millrace-embeddings", input=["one", "two"], **form)
    rows: list[Any] = [each.embedding for each in answer.data]
    if form.get("encoding_format") == "base64":
        # Who asks for base64 gets it as it came.
        assert all(isinstance(row, str) for row in rows)
    else:
        assert [[round(value, 6) for value in row] for row in rows] == [list(row) for row in ROWS]
    assert [each.index for each in answer.data] == [0, 1]
    assert (answer.model, answer.usage.prompt_tokens, answer.usage.total_tokens) == ("hash-64", 9, 9)


async def test_the_texts_go_on_the_log_for_the_index_that_is_live(door: Door, client: AsyncOpenAI) -> None:
    await client.embeddings.create(model="hash-64", input="one", dimensions=64, extra_body={"input_type": "query"})
    (request,) = door.log.bodies
    assert isinstance(request, EmbeddingRequest)
    assert (request.texts, request.model, request.use, request.workspace) == (("one",), "hash-64", "query", "acme")
    assert (request.deadline - request.accepted_at).total_seconds() == 60
    assert door.log.waiting == {}


@pytest.mark.parametrize(
    ("change", "param", "said"),
    [
        ({"input": []}, "input", "at least 1"),
        ({"input": ""}, "input.0", "at least 1"),
        ({"input": ["a", ""]}, "input.1", "at least 1"),
        ({"input": [1, 2, 3]}, "input", "tokens"),
        ({"input": [[1, 2], [3]]}, "input", "tokens"),
        ({"input": None}, "input", "list"),
        ({"input": {"text": "a"}}, "input", "list"),
        ({"dimensions": 32}, "dimensions", "64 components"),
        ({"dimensions": -1}, "dimensions", "greater"),
        ({"encoding_format": "int8"}, "encoding_format", "base64"),
        ({"input_type": "passage"}, "input_type", "document"),
    ],
)
async def test_what_is_refused_says_why(door: Door, change: dict[str, Any], param: str, said: str) -> None:
    response = await door.client.post("/v1/embeddings", json={"input": "a"} | change)
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, param, "invalid_request")
    assert said in error["message"]
    assert door.log.published == []


async def test_too_many_or_too_long(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    for texts in (["a"] * 2_049, ["a" * 32_001]):
        monkeypatch.setattr("gateway.middleware.Limiting._limit", lambda self, path: 2**20)
        response = await door.client.post("/v1/embeddings", json={"input": texts})
        assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")


async def test_another_model_is_not_found_and_the_right_one_named(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="millrace-embeddings"):
        await client.embeddings.create(model="text-embedding-3-small", input="a")


@pytest.mark.parametrize(
    ("code", "status", "problem"),
    [
        ("deadline_passed", 504, "deadline_passed"),
        ("unknown_model", 404, "model_not_found"),
        ("text_refused", 422, "refused"),
    ],
)
async def test_a_worker_that_cannot_says_why(door: Door, code: str, status: int, problem: str) -> None:
    door.log.encode = lambda request: [reply(request, kind="error", error=ReplyError(code=code, detail="in words"))]
    response = await door.client.post("/v1/embeddings", json={"input": "a"})
    assert (response.status_code, response.json()["error"]["code"]) == (status, problem)


async def test_the_models_are_listed_with_the_encoder(client: AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["millrace", "millrace-embeddings", "hash-64"]
    assert (await client.models.retrieve("hash-64")).id == "hash-64"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("org/other")


async def test_without_an_index_questions_still_have_a_model(door: Door) -> None:
    none_yet(door.connections)
    listed = (await door.client.get("/v1/models")).json()["data"]
    assert [model["id"] for model in listed] == ["millrace"]
    response = await door.client.post("/v1/embeddings", json={"input": "a"})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "dependency_unavailable")


def none_yet(connections: Connections) -> None:
    async def nothing(_: str) -> Index:
        raise Transient("postgres", "no index is live yet")

    connections.live_index = type(connections.live_index)(nothing, 0)
