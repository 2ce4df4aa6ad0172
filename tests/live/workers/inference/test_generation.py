"""The answerer with a real model: SmolLM2 in llama.cpp's server, killed and overrun as real ones are.

Its sentences are nobody's business here; that they are streamed, counted, stopped, shaped, cancelled and replaced is.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from time import monotonic
from uuid import uuid4

import pytest

from infra.queueing.cancels import Cancels
from schemas.chat import ChatPrompt, Generation, ReplyError
from schemas.chat_cancel import ChatCancel
from tests.chats import passage, prompt
from tests.eventually import eventually
from tests.smollm2 import Model, smollm2
from workers.inference.answer import Answerer, Outcome
from workers.inference.backends.backend import Answer
from workers.inference.telling import Telling
from workers.inference.tools import open_answerer

KEYS = passage(1, "Secrets matter. Keys are rotated weekly.", cosines=(0.1, 0.8))
WEIGHTS = {"key": 2.0, "rotat": 3.0}
SLOTS = 4
LONG = "Tell a very long story of a mill, with every detail."


@pytest.fixture(scope="module")
async def model() -> AsyncIterator[Model]:
    async with smollm2() as running:
        yield running


@pytest.fixture
def cancels() -> Cancels:
    return Cancels(60)


@pytest.fixture
def told(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in model.environment.items():
        monkeypatch.setenv(name, value)
    # A machine that does other things writes a word in a second: that is no silence here.
    monkeypatch.setenv("INFERENCE_FIRST_TIMEOUT_S", "120")
    monkeypatch.setenv("INFERENCE_CHUNK_TIMEOUT_S", "20")
    monkeypatch.setenv("INFERENCE_BREAKER_REST_S", "1")


@pytest.fixture
async def answerer(told: None, cancels: Cancels) -> AsyncIterator[Answerer]:
    async with open_answerer(cancels) as opened:
        yield opened


def asked(question: str, *, within: float = 150, **fields: object) -> ChatPrompt:
    """Return a question without sources; `fields` are those of its generation, or of the request by their names."""
    request = {name: fields.pop(name) for name in ("stream", "passages", "weights") if name in fields}
    values = {"stream": True, "request_id": uuid4(), "within": timedelta(seconds=within), **request}
    values.setdefault("retrieve", "passages" in request)
    return prompt(question, generation=Generation.model_validate(fields), **values)  # type: ignore[arg-type]


def answer_of(outcome: Outcome) -> Answer:
    assert isinstance(outcome.result, Answer), outcome.result
    return outcome.result


async def test_words_are_streamed_and_counted(answerer: Answerer) -> None:
    heard: list[str] = []
    outcome = await answerer.outcome(asked("What is a mill?", max_tokens=12), Telling(heard.append))
    answer = answer_of(outcome)
    assert "".join(heard) == answer.text
    assert len(heard) > 4
    assert (outcome.served_by, outcome.model, outcome.degraded) == ("openai", "smollm2", False)
    assert (answer.finish_reason, answer.usage.completion_tokens) == ("length", 12)
    assert 10 < answer.usage.prompt_tokens < 60


async def test_it_stops_where_it_is_told(answerer: Answerer) -> None:
    whole = answer_of(await answerer.outcome(asked("What is a mill?", max_tokens=16))).text
    word = whole.split()[4]
    answer = answer_of(await answerer.outcome(asked("What is a mill?", max_tokens=16, stop=(word,))))
    assert answer.text == whole[: whole.index(word)].rstrip()
    assert answer.finish_reason == "stop"


async def test_an_answer_has_the_form_that_its_schema_gives_it(answerer: Answerer) -> None:
    fields = {"kind": {"enum": ["water", "wind"]}, "stones": {"type": "integer", "minimum": 1, "maximum": 9}}
    schema = {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "mill", "schema": schema, "strict": True}}
    question = asked("Describe a mill as JSON.", response_format=form, max_tokens=60)
    answer = answer_of(await answerer.outcome(question))
    mill = json.loads(answer.text)
    assert mill.keys() == fields.keys()
    assert mill["kind"] in {"water", "wind"}
    assert 1 <= mill["stones"] <= 9
    assert answer.finish_reason == "stop"


async def test_a_cancel_frees_the_slot_of_the_server_long_before_its_answer_is_over(
    answerer: Answerer, model: Model, cancels: Cancels
) -> None:
    heard: list[float] = []
    question = asked(LONG, max_tokens=3_000)
    writing = asyncio.create_task(answerer.outcome(question, Telling(lambda _: heard.append(monotonic()))))
    await eventually(lambda: len(heard) > 10, within=60)
    assert await model.at_work() == 1
    cancelled_at = monotonic()
    cancels.hear(ChatCancel(workspace="acme", request_id=question.request.request_id))
    outcome = await writing
    ended_s = monotonic() - cancelled_at
    await eventually(lambda: free(model), within=10, every=0.02)
    freed_s = monotonic() - cancelled_at
    print(f"cancelled after {ended_s * 1000:.0f} ms, the server's slot free after {freed_s * 1000:.0f} ms")  # noqa: T201
    assert isinstance(outcome.result, ReplyError)
    assert outcome.result.code == "cancelled"


async def free(model: Model) -> bool:
    return await model.at_work() == 0


@pytest.mark.parametrize("concurrency", [SLOTS, 40])
async def test_forty_at_once_are_all_answered_each_with_its_own(
    told: None, model: Model, monkeypatch: pytest.MonkeyPatch, concurrency: int
) -> None:
    """Waiting in our queue, and in the server's. What each may say is laid down by its grammar, so none is mixed up."""
    monkeypatch.setenv("INFERENCE_CONCURRENCY", str(concurrency))
    words = [f"mill number {number}" for number in range(40)]
    async with open_answerer() as answerer:
        asking = [asyncio.create_task(answerer.outcome(only(word))) for word in words]
        most = 0
        while not all(task.done() for task in asking):
            most = max(most, await model.at_work())
            await asyncio.wait(asking, timeout=0.2)
    outcomes = [task.result() for task in asking]
    assert [json.loads(answer_of(outcome).text) for outcome in outcomes] == words
    assert {outcome.served_by for outcome in outcomes} == {"openai"}
    assert 1 < most <= SLOTS


def only(word: str) -> ChatPrompt:
    """Return a question that can be answered by `word` alone."""
    form = {"type": "json_schema", "json_schema": {"name": "word", "schema": {"const": word}}}
    return asked(f"Say {word}.", response_format=form, max_tokens=20, within=170)


async def test_those_that_cannot_be_answered_in_time_are_told_so(told: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERENCE_CONCURRENCY", str(SLOTS))
    async with open_answerer() as answerer:
        asking = [answerer.outcome(asked(f"{LONG} {n}", max_tokens=3_000, within=3, stream=False)) for n in range(40)]
        outcomes = await asyncio.gather(*asking)
    refused = [outcome.result.code for outcome in outcomes if isinstance(outcome.result, ReplyError)]
    assert set(refused) == {"deadline_passed"}
    assert len(refused) >= 40 - SLOTS


async def test_a_prompt_beyond_the_context_is_refused_as_that(answerer: Answerer) -> None:
    outcome = await answerer.outcome(asked("grind " * 6_000))
    assert isinstance(outcome.result, ReplyError)
    assert outcome.result.code == "context_length_exceeded"


async def test_a_server_killed_within_an_answer_is_stood_in_for_and_comes_back(
    answerer: Answerer, model: Model
) -> None:
    heard: list[str] = []
    former = model.pid
    read = asyncio.create_task(answerer.outcome(asked(LONG, max_tokens=3_000, within=20), Telling(heard.append)))
    quoted = asyncio.create_task(
        answerer.outcome(
            asked(LONG, max_tokens=3_000, within=20, stream=False, passages=[KEYS], weights=WEIGHTS), Telling()
        )
    )
    await eventually(lambda: len(heard) > 2, within=15)
    killed_at = monotonic()
    model.signal()
    fallback, broken = await asyncio.gather(quoted, read)
    print(f"both were answered {monotonic() - killed_at:.1f} s after the kill")  # noqa: T201 - a measurement
    # What was read stays; the same again would have gone on, had the server been back in time.
    answer = answer_of(broken)
    assert answer.text.startswith("".join(heard)[:20].rstrip())
    assert "".join(heard) == answer.text
    assert not broken.degraded or answer.finish_reason in {"error", "length"}
    assert fallback.served_by in {"extractive", "none", "openai"}
    assert fallback.degraded is (fallback.served_by != "openai")
    await model.back(former)
    await eventually(lambda: served(answerer), within=30, every=0.5)


async def served(answerer: Answerer) -> bool:
    outcome = await answerer.outcome(asked("What is a mill?", max_tokens=4))
    return outcome.served_by == "openai" and not outcome.degraded
