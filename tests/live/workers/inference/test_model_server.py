"""The inference worker against a model server that answers, hangs, cuts off, is busy, and is not there."""

from collections.abc import AsyncIterator
from datetime import timedelta
from time import monotonic

import pytest

from schemas.chat import ChatReply
from tests.chats import passage, prompt
from tests.deliveries import delivery
from tests.live.workers.inference.conftest import ModelServer
from workers.inference.answer import Answerer
from workers.inference.worker import infer, open_answerer

KEYS = passage(1, "Secrets matter. Keys are rotated weekly.", cosines=(0.1, 0.8))


@pytest.fixture
async def answerer(model_server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Answerer]:
    monkeypatch.setenv("INFERENCE_URL", model_server.url)
    monkeypatch.setenv("INFERENCE_MODEL", "tiny")
    monkeypatch.setenv("INFERENCE_ATTEMPTS", "2")
    async with open_answerer() as opened:
        yield opened


async def replied(answerer: Answerer, within: float = 30) -> ChatReply:
    asked = prompt(passages=[KEYS], within=timedelta(seconds=within))
    reply, _ = await infer(delivery(asked), answerer)
    assert isinstance(reply.body, ChatReply)
    return reply.body


def code_of(reply: ChatReply) -> str:
    assert reply.kind == "error"
    assert reply.error is not None
    return reply.error.code


async def test_the_answer_arrives_with_its_citation(answerer: Answerer, model_server: ModelServer) -> None:
    reply = await replied(answerer)
    assert (reply.text, reply.served_by, reply.model) == ("Weekly [1].", "openai", "tiny")
    assert [one.quote for one in reply.citations] == ["Keys are rotated weekly."]
    assert model_server.bodies[0]["messages"] == [{"role": "user", "content": "How often are keys rotated?"}]


async def test_a_busy_server_is_asked_again(answerer: Answerer, model_server: ModelServer) -> None:
    model_server.mood = "busy"
    assert (await replied(answerer)).kind == "final"
    assert len(model_server.bodies) == 2


async def test_a_hanging_server_is_left_before_the_deadline(answerer: Answerer, model_server: ModelServer) -> None:
    model_server.mood = "hanging"
    started = monotonic()
    assert code_of(await replied(answerer, within=1)) == "deadline_passed"
    assert monotonic() - started < 1


async def test_a_server_that_cuts_off_is_unavailable(answerer: Answerer, model_server: ModelServer) -> None:
    model_server.mood = "cutting"
    assert code_of(await replied(answerer)) == "backend_unavailable"
    assert len(model_server.bodies) == 2


async def test_a_server_that_is_not_there_is_unavailable_and_may_come_back(
    answerer: Answerer, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERENCE_URL", "http://127.0.0.1:1/v1")
    async with open_answerer() as elsewhere:
        assert code_of(await replied(elsewhere)) == "backend_unavailable"
    assert (await replied(answerer)).kind == "final"
