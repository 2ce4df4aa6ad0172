"""The answerer against a model server that streams, stalls, cuts off, talks nonsense, is busy, and is not there."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from infra.queueing.cancels import Cancels
from infra.telemetry.metrics import REGISTRY
from schemas.chat import ChatPrompt, ReplyError, Usage
from schemas.chat_cancel import ChatCancel
from tests.chats import passage, prompt
from tests.eventually import eventually
from tests.live.workers.inference.conftest import PIECES, ModelServer
from workers.inference.answer import Answerer, Outcome
from workers.inference.backends.backend import Answer
from workers.inference.telling import Telling
from workers.inference.tools import open_answerer

KEYS = passage(1, "Secrets matter. Keys are rotated weekly.", cosines=(0.1, 0.8))
WEIGHTS = {"key": 2.0, "rotat": 3.0}
ANSWER = "".join(PIECES)


@pytest.fixture
def cancels() -> Cancels:
    return Cancels(60)


@pytest.fixture
async def answerer(
    model_server: ModelServer, cancels: Cancels, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Answerer]:
    monkeypatch.setenv("INFERENCE_URL", model_server.url)
    monkeypatch.setenv("INFERENCE_MODEL", "tiny")
    monkeypatch.setenv("INFERENCE_ATTEMPTS", "2")
    monkeypatch.setenv("INFERENCE_CHUNK_TIMEOUT_S", "0.3")
    monkeypatch.setenv("INFERENCE_CONCURRENCY", "1")
    async with open_answerer(cancels) as opened:
        yield opened


def asked(question: str = "How often are keys rotated?", within: float = 30, **fields: object) -> ChatPrompt:
    values = {"passages": [KEYS], "weights": WEIGHTS, "stream": True, "within": timedelta(seconds=within), **fields}
    return prompt(question, **values)  # type: ignore[arg-type]


def answer_of(outcome: Outcome) -> Answer:
    assert isinstance(outcome.result, Answer), outcome.result
    return outcome.result


def code_of(outcome: Outcome) -> str:
    assert isinstance(outcome.result, ReplyError), outcome.result
    return outcome.result.code


async def test_the_words_arrive_as_they_are_written(answerer: Answerer, model_server: ModelServer) -> None:
    heard: list[str] = []
    outcome = await answerer.outcome(asked(), Telling(heard.append))
    answer = answer_of(outcome)
    assert (outcome.served_by, outcome.model, outcome.degraded) == ("openai", "tiny", False)
    assert "".join(heard) == answer.text == ANSWER
    assert len(heard) > 2
    assert answer.usage == Usage(prompt_tokens=7, completion_tokens=5)
    assert answer.finish_reason == "stop"
    assert [one.quote for one in answer.citations] == ["Keys are rotated weekly."]
    assert model_server.bodies[0]["messages"] == [{"role": "user", "content": "How often are keys rotated?"}]
    assert model_server.bodies[0]["stream"] is True


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_is_not_streamed_after_all(
    answerer: Answerer, model_server: ModelServer, stream: bool
) -> None:
    model_server.moods = ["whole"]
    heard: list[str] = []
    assert answer_of(await answerer.outcome(asked(stream=stream), Telling(heard.append))).text == ANSWER
    assert "".join(heard) == ANSWER


async def test_an_adapter_is_asked_for_by_its_name(answerer: Answerer, model_server: ModelServer) -> None:
    outcome = await answerer.outcome(asked(model="support-lora"))
    assert (outcome.model, model_server.bodies[0]["model"]) == ("support-lora", "support-lora")
    assert code_of(await answerer.outcome(asked(model="gpt-9"))) == "unknown_model"


@pytest.mark.parametrize("mood", ["cutting", "ending", "stalling", "garbage", "erring"])
async def test_another_attempt_that_says_the_same_goes_on(
    answerer: Answerer, model_server: ModelServer, mood: str
) -> None:
    model_server.moods = [mood, "well"]
    heard: list[str] = []
    outcome = await answerer.outcome(asked(), Telling(heard.append))
    assert "".join(heard) == answer_of(outcome).text == ANSWER
    assert not outcome.degraded
    assert len(model_server.bodies) == 2


@pytest.mark.parametrize("again", ["changing", "cutting"])
async def test_an_answer_that_breaks_off_for_good_stays_what_was_read(
    answerer: Answerer, model_server: ModelServer, again: str
) -> None:
    model_server.moods = ["cutting", again]
    heard: list[str] = []
    outcome = await answerer.outcome(asked(), Telling(heard.append))
    answer = answer_of(outcome)
    assert "".join(heard) == answer.text == "Keys are rotated"
    assert (answer.finish_reason, outcome.degraded, outcome.served_by) == ("error", True, "openai")


@pytest.mark.parametrize("mood", ["cutting", "ending", "stalling", "garbage", "erring", "away"])
async def test_without_a_reader_the_sources_are_quoted_instead(
    answerer: Answerer, model_server: ModelServer, mood: str
) -> None:
    model_server.moods = [mood]
    outcome = await answerer.outcome(asked(stream=False))
    assert answer_of(outcome).text == "Keys are rotated weekly. [1]"
    assert (outcome.served_by, outcome.degraded) == ("extractive", True)


async def test_the_fallback_is_streamed_too(answerer: Answerer, model_server: ModelServer) -> None:
    model_server.moods = ["away"]
    heard: list[str] = []
    outcome = await answerer.outcome(asked(), Telling(heard.append))
    assert "".join(heard) == answer_of(outcome).text == "Keys are rotated weekly. [1]"


async def test_a_weak_fallback_says_what_was_found(answerer: Answerer, model_server: ModelServer) -> None:
    model_server.moods = ["away"]
    heard: list[str] = []
    bread = passage(1, "Bread is baked.", cosines=(0.1,), title="Bread")
    outcome = await answerer.outcome(asked(passages=[bread]), Telling(heard.append))
    answer = answer_of(outcome)
    assert "Bread [1]" in answer.text
    assert "".join(heard) == answer.text
    assert (answer.abstained, outcome.degraded, outcome.served_by) == (True, True, "none")


async def test_without_anything_found_the_failure_is_told(answerer: Answerer, model_server: ModelServer) -> None:
    model_server.moods = ["away"]
    assert code_of(await answerer.outcome(asked(retrieve=False, passages=[]))) == "backend_unavailable"


async def test_a_busy_server_is_asked_again(answerer: Answerer, model_server: ModelServer) -> None:
    model_server.moods = ["busy", "well"]
    outcome = await answerer.outcome(asked())
    assert (outcome.served_by, len(model_server.bodies)) == ("openai", 2)


async def test_a_hanging_server_is_left_for_the_fallback_before_the_deadline(
    answerer: Answerer, model_server: ModelServer
) -> None:
    model_server.moods = ["hanging"]
    question = asked(within=8)
    outcome = await answerer.outcome(question)
    assert outcome.served_by == "extractive"


async def test_a_server_that_does_not_begin_in_time_is_asked_again(
    model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERENCE_URL", model_server.url)
    monkeypatch.setenv("INFERENCE_MODEL", "tiny")
    monkeypatch.setenv("INFERENCE_FIRST_TIMEOUT_S", "0.3")
    model_server.moods = ["hanging", "well"]
    async with open_answerer() as answerer:
        assert (await answerer.outcome(asked())).served_by == "openai"
    assert len(model_server.bodies) == 2


async def test_without_a_fallback_the_deadline_is_told(answerer: Answerer, model_server: ModelServer) -> None:
    model_server.moods = ["hanging"]
    assert code_of(await answerer.outcome(asked(within=1, retrieve=False, passages=[]))) == "deadline_passed"


async def test_a_server_that_stays_away_is_asked_no_more(answerer: Answerer, model_server: ModelServer) -> None:
    model_server.moods = ["away"]
    for _ in range(10):
        assert (await answerer.outcome(asked())).served_by == "extractive"
    assert len(model_server.bodies) == 3
    assert REGISTRY.get_sample_value("millrace_backend_breaker", {"backend": "openai"}) == 2


async def test_one_askers_faulty_requests_take_the_server_from_nobody(
    answerer: Answerer, model_server: ModelServer
) -> None:
    model_server.moods = [*["refusing"] * 10, "well"]
    for _ in range(10):
        assert code_of(await answerer.outcome(asked())) == "response_format_not_supported"
    assert len(model_server.bodies) == 10, "what is refused is not asked again"
    assert REGISTRY.get_sample_value("millrace_backend_breaker", {"backend": "openai"}) == 0
    assert (await answerer.outcome(asked())).served_by == "openai"


async def test_a_question_that_the_server_fails_at_counts_once(answerer: Answerer, model_server: ModelServer) -> None:
    """Two attempts each (INFERENCE_ATTEMPTS): three in a row would open the breaker at the second question."""
    model_server.moods = [*["erring"] * 4, "well"]
    for _ in range(2):
        assert (await answerer.outcome(asked(stream=False))).served_by == "extractive"
    assert len(model_server.bodies) == 4
    assert (await answerer.outcome(asked())).served_by == "openai"


@pytest.mark.parametrize("mood", ["hanging", "stalling"])
async def test_a_cancel_frees_the_slot_and_the_server_at_once(
    answerer: Answerer, model_server: ModelServer, cancels: Cancels, mood: str
) -> None:
    model_server.moods = [mood, "well"]
    question = asked("Anything?")
    waiting = asyncio.create_task(answerer.outcome(question, Telling([].append)))
    await eventually(lambda: model_server.at_work == 1)
    next_one = asyncio.create_task(answerer.outcome(asked("And this?")))
    cancels.hear(ChatCancel(workspace="acme", request_id=question.request.request_id))
    assert code_of(await waiting) == "cancelled"
    assert (await next_one).served_by == "openai"
    await eventually(lambda: model_server.at_work == 0)


async def test_a_second_server_answers_where_the_first_cannot(
    model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERENCE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("INFERENCE_MODEL", "main")
    monkeypatch.setenv("INFERENCE_SECOND_URL", model_server.url)
    monkeypatch.setenv("INFERENCE_SECOND_MODEL", "spare")
    async with open_answerer() as answerer:
        outcome = await answerer.outcome(asked())
    assert (outcome.served_by, outcome.model, outcome.degraded) == ("second", "spare", True)
    assert answer_of(outcome).text == ANSWER


async def test_one_connection_serves_answer_after_answer(answerer: Answerer, model_server: ModelServer) -> None:
    for _ in range(3):
        assert answer_of(await answerer.outcome(asked())).text == ANSWER
    assert model_server.connections == 1
