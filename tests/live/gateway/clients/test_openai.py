"""OpenAI's own Python client, with nothing of ours but address and key."""

import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from infra.models.hashed import HashEncoder
from tests.live.gateway.clients.conftest import MESSAGES, QUESTION, TOLD
from tests.live.gateway.clients.vendor import Vendor

SCHEMA = {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]}
TOOLS: Any = [{"type": "function", "function": {"name": "days_left", "parameters": SCHEMA}}]

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
async def client(answering: str, key: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{answering}/v1", api_key=key, max_retries=0, timeout=90) as opened:
        yield opened


async def test_a_whole_answer(client: AsyncOpenAI, vendor: Vendor) -> None:
    answer = await client.chat.completions.create(model="millrace", messages=MESSAGES, temperature=0.5, seed=7)
    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason, answer.model) == (TOLD, "stop", "vendor-1")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == len(TOLD.split())
    assert choice.message.annotations is not None
    cited = choice.message.annotations[0].url_citation
    assert TOLD[cited.start_index : cited.end_index] == "[1]"
    assert (cited.title, (answer.model_extra or {})["millrace"]["citations"][0]["title"]) == ("Keys", "Keys")
    assert (vendor.bodies[-1]["temperature"], vendor.bodies[-1]["seed"]) == (0.5, 7)


async def test_a_stream(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="millrace", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == TOLD
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == len(TOLD.split())


async def test_limits_of_the_answer(client: AsyncOpenAI) -> None:
    cut = await client.chat.completions.create(model="millrace", messages=MESSAGES, max_completion_tokens=2)
    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == ("You asked:", "length")
    stopped = await client.chat.completions.create(model="millrace", messages=MESSAGES, stop=" often")
    assert stopped.choices[0].message.content == "You asked: How"


class Days(BaseModel):
    days: int


async def test_a_json_schema_is_kept_to(client: AsyncOpenAI) -> None:
    parsed = await client.chat.completions.parse(model="millrace", messages=MESSAGES, response_format=Days)
    assert parsed.choices[0].message.parsed == Days(days=7)
    response = await client.responses.parse(model="millrace", input=QUESTION, text_format=Days)
    assert response.output_parsed == Days(days=7)
    plain = await client.chat.completions.create(
        model="millrace", messages=MESSAGES, response_format={"type": "json_object"}
    )
    assert json.loads(plain.choices[0].message.content or "") == {}


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_is_called_and_its_result_answered_from(client: AsyncOpenAI, streamed: bool) -> None:
    if streamed:
        async with client.chat.completions.stream(model="millrace", messages=MESSAGES, tools=TOOLS) as stream:
            choice: Any = (await stream.get_final_completion()).choices[0]
    else:
        choice = (await client.chat.completions.create(model="millrace", messages=MESSAGES, tools=TOOLS)).choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "" if streamed else None)
    (call,) = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("days_left", {"days": 7})
    told: Any = [
        {"role": "assistant", "tool_calls": [{"id": call.id, "type": "function", "function": call.function.to_dict()}]},
        {"role": "tool", "tool_call_id": call.id, "content": "90"},
    ]
    for each in told[0]["tool_calls"]:
        each["function"] = {name: each["function"][name] for name in ("name", "arguments")}
    answer = await client.chat.completions.create(model="millrace", messages=[*MESSAGES, *told], tools=TOOLS)
    assert answer.choices[0].message.content == "The tool returned 90 ."


async def test_models(client: AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["millrace", "millrace-embeddings", "hash-64"]
    assert (await client.models.retrieve("hash-64")).owned_by == "millrace"
    answer = await client.chat.completions.create(model="vendor-lora", messages=MESSAGES)
    assert answer.model == "vendor-lora"


async def test_embeddings_are_those_of_the_index(client: AsyncOpenAI) -> None:
    texts = [f"the mill wheel number {number}" for number in range(100)]
    expected = await HashEncoder().encode_documents(texts)
    given = await client.embeddings.create(model="millrace-embeddings", input=texts)
    assert np.array_equal(np.asarray([each.embedding for each in given.data], np.float32), expected)
    plain = await client.embeddings.create(model="hash-64", input=texts[3], encoding_format="float")
    assert np.array_equal(np.asarray(plain.data[0].embedding, np.float32), expected[3])
    assert (plain.model, plain.usage.total_tokens) == ("hash-64", 4)


async def test_two_thousand_embeddings_at_once(client: AsyncOpenAI) -> None:
    """As many as one request may hold."""
    texts = [f"wheel {number}" for number in range(2_048)]
    given = await client.embeddings.create(model="millrace-embeddings", input=texts)
    assert np.array_equal(
        np.asarray([each.embedding for each in given.data], np.float32), await HashEncoder().encode_documents(texts)
    )


async def test_a_response_and_one_that_goes_on_from_it(client: AsyncOpenAI, vendor: Vendor) -> None:
    first = await client.responses.create(model="millrace", input=QUESTION, instructions="Be brief.")
    assert (first.status, first.output_text) == ("completed", TOLD)
    assert first.usage is not None
    assert first.usage.output_tokens == len(TOLD.split())
    async with client.responses.stream(
        model="millrace", input="And who rotates them?", previous_response_id=first.id
    ) as stream:
        deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        second = await stream.get_final_response()
    assert second.output_text == "".join(deltas)
    assert second.output_text.startswith("You asked: And who rotates them?")
    told = [message["content"] for message in vendor.bodies[-1]["messages"]]
    assert told[1:3] == [QUESTION, TOLD]
    assert "Be brief." not in told[0]


async def test_a_response_calls_a_function_and_is_answered_from_its_result(client: AsyncOpenAI) -> None:
    functions: Any = [{"type": "function", "name": "days_left", "parameters": SCHEMA, "strict": True}]
    async with client.responses.stream(model="millrace", input=MESSAGES, tools=functions) as stream:
        first = await stream.get_final_response()
    (call,) = first.output
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments)) == ("days_left", {"days": 7})
    given: Any = [*MESSAGES, call.to_dict(), {"type": "function_call_output", "call_id": call.call_id, "output": "90"}]
    second = await client.responses.create(model="millrace", input=given, tools=functions)
    assert second.output_text == "The tool returned 90 ."


async def test_a_response_that_is_cut(client: AsyncOpenAI) -> None:
    cut = await client.responses.create(model="millrace", input=QUESTION, max_output_tokens=2)
    assert (cut.status, cut.output_text) == ("incomplete", "You asked:")


async def test_a_wrong_key(answering: str) -> None:
    key = f"mr_{'a' * 12}_{'1' * 64}"
    async with AsyncOpenAI(base_url=f"{answering}/v1", api_key=key, max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.chat.completions.create(model="millrace", messages=MESSAGES)
        with pytest.raises(openai.AuthenticationError):
            await stranger.embeddings.create(model="millrace-embeddings", input="a")


async def test_an_unknown_model(client: AsyncOpenAI) -> None:
    for asked in (
        client.chat.completions.create(model="gpt-9", messages=MESSAGES),
        client.chat.completions.create(model="gpt-9", messages=MESSAGES, stream=True),
        client.responses.create(model="gpt-9", input="a"),
        client.embeddings.create(model="gpt-9", input="a"),
        client.models.retrieve("gpt-9"),
    ):
        with pytest.raises(openai.NotFoundError) as refused:
            await asked  # type: ignore[misc]
        assert refused.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"messages": "hello"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": "x"}] * 10_000}, "messages"),
        ({"max_tokens": -5}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"n": 3}, "n"),
        ({"stop": 7}, "stop"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"millrace": {"top_k": -1}}, "millrace.top_k"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_bad_request_names_the_field(client: AsyncOpenAI, wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(model="millrace", messages=MESSAGES, extra_body=wrong)
    assert (refused.value.code, refused.value.param) == ("invalid_request", param)


async def test_a_message_of_10_mb(client: AsyncOpenAI) -> None:
    huge: Any = [{"role": "user", "content": "x" * 10_000_000}]
    with pytest.raises(openai.APIStatusError) as refused:
        await client.chat.completions.create(model="millrace", messages=huge)
    assert (refused.value.status_code, refused.value.code) == (413, "payload_too_large")


async def test_who_calls_no_tools_says_so(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(model="extractive", messages=MESSAGES, tools=TOOLS)
    assert refused.value.code == "tools_not_supported"
    quoted = await client.chat.completions.create(
        model="extractive", messages=MESSAGES, tools=TOOLS, tool_choice="none"
    )
    assert "ninety days" in (quoted.choices[0].message.content or "")
