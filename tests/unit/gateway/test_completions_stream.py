"""Completions told as they are written, to OpenAI's own client and on the wire."""

import asyncio
from typing import Any
from uuid import uuid4

import openai
import pytest
from openai import AsyncOpenAI

from gateway.asking import MAX_CONTENT
from gateway.message_input import messages_of
from gateway.problems import Problem
from gateway.routes.completions import CompletionRequest
from schemas.chat import Citation, Usage
from tests.eventually import eventually
from tests.unit.gateway.conftest import Door
from tests.unit.gateway.serving import asked, caller, cancels, events, failure, reply, telling

DOCUMENT = uuid4()
CITATION = Citation(number=1, document_id=DOCUMENT, version=3, start=0, end=4, quote="Yes.", title="T", url="http://t")
MESSAGES: Any = [{"role": "user", "content": "is it?"}]
ASKED = {"model": "millrace", "messages": MESSAGES}


async def test_openais_client_reads_a_stream(door: Door, client: AsyncOpenAI) -> None:
    usage = Usage(prompt_tokens=7, completion_tokens=2)
    door.log.answer = telling("Ye", "s [1].", citations=(CITATION,), usage=usage, finish_reason="length", model="m-1")
    stream = await client.chat.completions.create(
        model="millrace", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    request = await asked(door)
    assert request.stream
    assert {chunk.id for chunk in chunks} == {f"chatcmpl-{request.request_id}"}
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert (chunks[0].choices[0].delta.role, chunks[0].choices[0].delta.content) == ("assistant", "")
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == "Yes [1]."
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["length"]
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 9
    sources = (chunks[-2].model_extra or {})["millrace"]
    assert sources["citations"][0]["quote"] == "Yes."
    assert sources["request_id"] == str(request.request_id)
    assert (chunks[-2].choices[0].delta.model_extra or {})["annotations"][0]["url_citation"]["url"] == "http://t"


async def test_openais_client_reads_a_whole_answer(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = telling("Yes.", usage=Usage(prompt_tokens=7, completion_tokens=2))
    answer = await client.chat.completions.create(
        model="millrace", messages=MESSAGES, extra_body={"millrace": {"retrieve": False, "top_k": 3}}
    )
    request = await asked(door)
    assert answer.choices[0].message.content == "Yes."
    assert answer.usage is not None
    assert answer.usage.total_tokens == 9
    assert (request.stream, request.retrieve, request.top_k) == (False, False, 3)


async def test_a_refusal_before_the_first_word_has_a_status_of_its_own(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = lambda request: [failure(request, "unknown_model")]
    with pytest.raises(openai.NotFoundError) as refused:
        await client.chat.completions.create(model="other", messages=MESSAGES, stream=True)
    assert refused.value.code == "model_not_found"
    door.log.down = True
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(model="other", messages=MESSAGES, stream=True)
    door.log.down = False
    assert door.log.waiting == {}


async def test_an_error_after_the_first_word_ends_the_stream(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = lambda request: [reply(request, "delta", "Ye"), failure(request, "backend_unavailable")]
    stream = await client.chat.completions.create(model="millrace", messages=MESSAGES, stream=True)
    assert (await anext(stream)).choices[0].delta.role == "assistant"
    assert (await anext(stream)).choices[0].delta.content == "Ye"
    with pytest.raises(openai.APIError) as broken:
        await anext(stream)
    assert broken.value.code == "dependency_unavailable"


async def test_an_answer_that_changed_is_not_glued_to_what_was_told(door: Door, url: str) -> None:
    door.log.answer = lambda request: [reply(request, "delta", "One answer")]
    async with (
        caller(url) as client,
        client.stream("POST", "/v1/chat/completions", json=ASKED | {"stream": True}) as response,
    ):
        request = await asked(door)
        reading = events(response)
        await anext(reading)
        assert (await anext(reading)).data["choices"][0]["delta"] == {"content": "One answer"}
        door.log.say(reply(request, "final", "Another answer", 0))
        last = [event async for event in reading]
    assert [event.data["error"]["message"] for event in last] == [
        "the answer was written anew and differs: ask for it as a whole"
    ]


async def test_a_worker_that_begins_again_is_not_noticed(door: Door, url: str) -> None:
    # Died after its second piece; the next one cuts the same text elsewhere.
    door.log.answer = lambda request: [reply(request, "delta", "Hel"), reply(request, "delta", "lo wor", 1)]
    async with (
        caller(url) as client,
        client.stream("POST", "/v1/chat/completions", json=ASKED | {"stream": True}) as response,
    ):
        request = await asked(door)
        door.log.say(reply(request, "delta", "Hello ", 0), reply(request, "delta", "world", 1))
        door.log.say(reply(request, "final", "Hello world!", 2))
        found = [event async for event in events(response)]
    assert found[-1].data == "[DONE]"
    told = [event.data["choices"][0]["delta"].get("content", "") for event in found[:-1]]
    assert "".join(told) == "Hello world!"


async def test_silence_is_filled_with_comments(door: Door, url: str) -> None:
    door.connections.settings = door.connections.settings.model_copy(update={"keepalive_s": 0.05})
    async with (
        caller(url) as client,
        client.stream("POST", "/v1/chat/completions", json=ASKED | {"stream": True}) as response,
    ):
        request = await asked(door)
        lines = response.aiter_lines()
        seen = [await anext(lines) for _ in range(6)]
        assert seen.count(": ping") >= 1
        door.log.say(*telling("Yes.")(request))
        assert [line async for line in lines if line][-1] == "data: [DONE]"


@pytest.mark.parametrize("stream", [True, False])
async def test_hanging_up_cancels(door: Door, url: str, stream: bool) -> None:
    async with caller(url) as client:
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=ASKED | {"stream": stream}))
        request = await asked(door)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    (cancel,) = await eventually(lambda: cancels(door))
    assert (cancel.request_id, cancel.workspace, cancel.reason) == (request.request_id, "acme", "disconnected")
    assert door.log.waiting == {}


async def test_hanging_up_in_the_middle_cancels(door: Door, url: str) -> None:
    door.log.answer = lambda request: [reply(request, "delta", "Ye")]
    async with (
        caller(url) as client,
        client.stream("POST", "/v1/chat/completions", json=ASKED | {"stream": True}) as response,
    ):
        assert (await anext(events(response))).data["choices"][0]["delta"]["role"] == "assistant"
    await eventually(lambda: cancels(door))
    assert door.log.waiting == {}


async def test_a_stream_read_to_its_end_cancels_nothing(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = telling("Yes.")
    stream = await client.chat.completions.create(model="millrace", messages=MESSAGES, stream=True)
    assert [chunk async for chunk in stream]
    await eventually(lambda: not door.log.waiting)
    assert cancels(door) == []


async def test_the_models_are_listed(client: AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()][:1] == ["millrace"]
    assert (await client.models.retrieve("millrace")).owned_by == "millrace"
    with pytest.raises(openai.NotFoundError) as missing:
        await client.models.retrieve("gpt-7")
    assert missing.value.code == "model_not_found"


async def test_the_form_of_the_answer_is_passed_on(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = telling("{}")
    form: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    await client.chat.completions.create(
        model="millrace", messages=MESSAGES, response_format=form, top_p=0.5, seed=7, stop=["a", "b"]
    )
    generation = (await asked(door)).generation
    assert generation.response_format == form
    assert (generation.top_p, generation.seed, generation.stop) == (0.5, 7, ("a", "b"))
    await client.chat.completions.create(model="millrace", messages=MESSAGES, response_format={"type": "text"})
    assert (await asked(door, 2)).generation.response_format is None


@pytest.mark.parametrize("code", ["context_length_exceeded", "response_format_not_supported"])
async def test_what_the_backend_refuses_is_the_requests_fault(door: Door, client: AsyncOpenAI, code: str) -> None:
    door.log.answer = lambda request: [failure(request, code)]
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(model="millrace", messages=MESSAGES)
    assert refused.value.code == code


async def test_a_key_makes_a_repetition_the_same(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = telling("Yes.")
    headers = {"Idempotency-Key": "k-1"}
    answers = [
        await client.chat.completions.create(model="millrace", messages=MESSAGES, extra_headers=headers)
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert len(door.log.bodies) == 1


async def test_the_sender_may_say_what_kind_of_question_it_is(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = telling("Yes.", intent="code", served_by="coder", degraded=False)
    answer = await client.chat.completions.create(
        model="millrace", messages=MESSAGES, extra_body={"millrace": {"intent": "code", "cached": False}}
    )
    request = await asked(door)
    assert (request.intent, request.cached, request.model) == ("code", False, "")
    sources = (answer.model_extra or {})["millrace"]
    assert (sources["intent"], sources["served_by"], sources["degraded"]) == ("code", "coder", False)
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(
            model="millrace", messages=MESSAGES, extra_body={"millrace": {"intent": "poetry"}}
        )


async def test_chat_takes_the_same_wishes(door: Door) -> None:
    door.log.answer = telling("Yes.", intent="creative", served_by="cache", degraded=True)
    body = {"message": "is it?", "intent": "creative", "cached": False}
    response = await door.client.post("/v1/chat", json=body)
    request = await asked(door)
    assert (request.intent, request.cached) == ("creative", False)
    said = response.json()
    assert (said["intent"], said["served_by"], said["degraded"]) == ("creative", "cache", True)


@pytest.mark.parametrize(("store", "purpose"), [(False, "query"), (True, "chat"), (None, "chat")])
async def test_what_is_not_to_be_stored_leaves_nothing_behind(
    door: Door, client: AsyncOpenAI, store: bool | None, purpose: str
) -> None:
    door.log.answer = telling("Yes.")
    await client.chat.completions.create(model="millrace", messages=MESSAGES, store=store)
    request = await asked(door)
    assert (request.purpose, request.cached) == (purpose, store is not False)


@pytest.mark.parametrize("huge", [{"seed": 2**63}, {"seed": -(2**70)}, {"max_tokens": 2**31}])
async def test_numbers_beyond_what_servers_take_are_refused_at_the_door(
    door: Door, client: AsyncOpenAI, huge: dict[str, Any]
) -> None:
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model="millrace", messages=MESSAGES, **huge)
    assert door.log.bodies == []


NAMES = [f"p{number}" for number in range(10)]


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": [*NAMES, "p"]},
        {"properties": {name: {} for name in [*NAMES, "p"]}},
        {"anyOf": [{"const": name} for name in [*NAMES, "p"]]},
        {"not": [{"enum": NAMES}, {"items": {"properties": {"p": {"enum": ["p"]}}}}]},
    ],
)
async def test_a_schema_that_would_keep_a_server_busy_for_minutes_is_refused(
    door: Door, client: AsyncOpenAI, schema: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.json_values.MOST_NAMED", len(NAMES))
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": schema}}
    for asking in ({"response_format": form}, {"tools": [tool]}):
        with pytest.raises(openai.BadRequestError, match="at most 10 properties"):
            await client.chat.completions.create(model="millrace", messages=MESSAGES, **asking)
    assert door.log.bodies == []


async def test_who_asked_too_long_a_question_hears_that_it_was_shortened(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = telling("Yes.", shortened=True)
    answer = await client.chat.completions.create(model="millrace", messages=MESSAGES)
    assert (answer.model_extra or {})["millrace"]["shortened"] is True
    assert (await door.client.post("/v1/chat", json={"message": "is it?"})).json()["shortened"] is True


def test_a_pasted_log_is_a_question() -> None:
    log = "x" * MAX_CONTENT
    wanted = CompletionRequest.model_validate(
        {"messages": [{"role": "user", "content": [{"type": "text", "text": log}]}]}
    )
    assert messages_of(wanted.messages)[-1].content == log
    twice = wanted.model_validate({"messages": [{"role": "user", "content": [{"type": "text", "text": log}] * 2}]})
    with pytest.raises(Problem):
        messages_of(twice.messages)
