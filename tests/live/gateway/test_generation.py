"""Real generation end to end: OpenAI's client, gateway, log, inference worker, SmolLM2 in llama.cpp's server."""

import asyncio
import json
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.eventually import eventually
from tests.live.gateway.conftest import Environment, Gateway
from tests.live.gateway.test_with_inference import inferring, retriever  # noqa: F401 - a fixture
from tests.smollm2 import Model, smollm2

pytestmark = pytest.mark.usefixtures("retriever", "worker")
REFUSALS = {"refused: deadline_passed", "refused: backend_unavailable"}


@pytest.fixture(scope="module")
async def model() -> AsyncIterator[Model]:
    async with smollm2() as running:
        yield running


@pytest.fixture(scope="module")
async def worker(
    surroundings: Environment, model: Model, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[None]:
    told = surroundings | model.environment | {"INFERENCE_FIRST_TIMEOUT_S": "55"}
    async with inferring(told, told["INFERENCE_URL"], tmp_path_factory.mktemp("inference")):
        yield


@pytest.fixture
async def asker(gateway: Gateway, key: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0, timeout=90) as client:
        yield client


def asking(question: str, **fields: Any) -> dict[str, Any]:
    return {"model": "millrace", "messages": [{"role": "user", "content": question}], **fields}


def formed(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "form", "schema": schema, "strict": True}}


async def test_words_are_streamed_with_their_usage(asker: AsyncOpenAI) -> None:
    wanted = asking("What is a mill?", max_completion_tokens=30, stream=True, stream_options={"include_usage": True})
    text, finish, usage = "", None, None
    async for chunk in await asker.chat.completions.create(**wanted):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
        usage = chunk.usage or usage
    assert len(text.split()) > 5
    assert finish == "length"
    assert usage is not None
    assert (usage.completion_tokens, usage.total_tokens) == (30, 30 + usage.prompt_tokens)


async def test_it_stops_where_it_is_told_and_keeps_to_a_schema(asker: AsyncOpenAI) -> None:
    whole = await asker.chat.completions.create(**asking("What is a mill?", max_tokens=16))
    said = whole.choices[0].message.content or ""
    word = said.split()[4]
    short = await asker.chat.completions.create(**asking("What is a mill?", max_tokens=16, stop=[word]))
    assert short.choices[0].message.content == said[: said.index(word)].rstrip()
    assert short.choices[0].finish_reason == "stop"
    schema = {"type": "object", "properties": {"kind": {"enum": ["water", "wind"]}}, "required": ["kind"]}
    wanted = asking("Which mill? Answer in JSON.", response_format=formed(schema), max_tokens=40)
    answer = await asker.chat.completions.create(**wanted)
    assert json.loads(answer.choices[0].message.content or "")["kind"] in {"water", "wind"}


async def test_a_prompt_beyond_the_context_is_openais_error(asker: AsyncOpenAI) -> None:
    """The retriever, which keeps prompts short, is not in this path."""
    turn = [{"role": "user", "content": "grind " * 1_300}, {"role": "assistant", "content": "Done."}]
    wanted = asking("And now?")
    with pytest.raises(openai.BadRequestError) as refused:
        await asker.chat.completions.create(**wanted | {"messages": [*turn, *turn, *turn, *turn, *wanted["messages"]]})
    assert refused.value.code == "context_length_exceeded"


async def test_who_hangs_up_frees_the_slot(asker: AsyncOpenAI, model: Model) -> None:
    long = asking("Tell a very long story of a mill.", max_tokens=3_000, stream=True)
    stream = await asker.chat.completions.create(**long)
    told = ""
    while len(told) < 20:
        told += (await anext(stream)).choices[0].delta.content or ""
    assert await model.at_work() == 1
    left_at = monotonic()
    await stream.close()
    await eventually(lambda: free(model), within=20, every=0.02)
    freed_s = monotonic() - left_at
    print(f"the server's slot was free {freed_s * 1000:.0f} ms after its reader had gone")  # noqa: T201


async def free(model: Model) -> bool:
    return await model.at_work() == 0


async def test_of_forty_at_once_each_has_its_own_answer_or_a_clear_refusal(asker: AsyncOpenAI) -> None:
    words = [f"mill number {number}" for number in range(40)]

    async def one(word: str) -> str:
        wanted = asking(f"Say {word}.", response_format=formed({"const": word}), max_tokens=20)
        try:
            answer = await asker.chat.completions.create(**wanted)
        except openai.APIStatusError as error:
            return f"refused: {error.code}"
        return str(json.loads(answer.choices[0].message.content or ""))

    began = monotonic()
    answers = await asyncio.gather(*map(one, words))
    answered = [(word, answer) for word, answer in zip(words, answers, strict=True) if answer not in REFUSALS]
    print(f"{len(answered)} of 40 answered in {monotonic() - began:.1f} s")  # noqa: T201
    assert len(answered) >= 4
    assert all(word == answer for word, answer in answered)
