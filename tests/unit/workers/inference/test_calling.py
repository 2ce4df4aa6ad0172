"""Tool calls: to the model server and back."""

from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest

from infra.errors import Transient
from schemas.chat import ChatMessage, FunctionCall, Generation, ToolCall
from tests.chats import passage, prompt
from tests.unit.workers.inference.test_openai import Server, completion
from workers.inference.backends.backend import RequestRefused
from workers.inference.backends.calling import Calls
from workers.inference.backends.extractive import TOOLS_NOT_SUPPORTED, ExtractiveBackend
from workers.inference.backends.wire import ToolPiece
from workers.inference.settings import ExtractiveSettings

REQUEST = UUID(int=7)
TOOL = {"type": "function", "function": {"name": "days_left", "parameters": {"type": "object"}}}
OFFERING = Generation(tools=(TOOL,), tool_choice="auto", parallel_tool_calls=False)


def call(identity: str, arguments: str = "{}", name: str = "days_left") -> ToolCall:
    return ToolCall(id=identity, function=FunctionCall(name=name, arguments=arguments))


def piece(**fields: Any) -> ToolPiece:
    return ToolPiece.model_validate(fields)


def put_together(*pieces: ToolPiece) -> tuple[ToolCall, ...]:
    calls = Calls()
    for each in pieces:
        calls.add([each])
    return calls.whole(REQUEST)


def test_pieces_of_two_calls_are_told_apart_by_their_index() -> None:
    assert put_together(
        piece(index=0, id="a", function={"name": "days_left", "arguments": ""}),
        piece(index=1, id="b", function={"name": "today"}),
        piece(index=0, function={"arguments": '{"person": '}),
        piece(index=1, function={"arguments": "{}"}),
        piece(index=0, function={"arguments": '"ada"}'}),
    ) == (call("a", '{"person": "ada"}'), call("b", name="today"))


def test_whole_calls_without_index_or_id_are_calls_all_the_same() -> None:
    whole = {"name": "days_left", "arguments": "{}"}
    assert put_together(piece(function=whole), piece(function=whole)) == (
        call(f"call_{REQUEST.hex}_0"),
        call(f"call_{REQUEST.hex}_1"),
    )
    assert put_together(piece(id="a", function=whole), piece(id="b", function=whole)) == (call("a"), call("b"))


def test_what_has_no_name_is_no_call() -> None:
    assert put_together(piece(index=0, id="a", function={"arguments": "{}"})) == ()


async def test_tools_and_their_results_reach_the_server() -> None:
    server = Server(httpx.Response(200, json=completion("Seven.")))
    messages = (
        ChatMessage(role="user", content="How many days?"),
        ChatMessage(role="assistant", content="", tool_calls=(call("a"),)),
        ChatMessage(role="tool", content="7", tool_call_id="a"),
    )
    asked = prompt(generation=OFFERING).model_copy(update={"messages": messages})
    assert (await server.backend().answer(asked)).tool_calls == ()
    body = orjson.loads(server.requests[0].content)
    assert (body["tools"], body["tool_choice"], body["parallel_tool_calls"]) == ([TOOL], "auto", False)
    assert body["messages"] == [
        {"role": "user", "content": "How many days?"},
        {"role": "assistant", "content": None, "tool_calls": [call("a").model_dump()]},
        {"role": "tool", "content": "7", "tool_call_id": "a"},
    ]


def calling() -> httpx.Response:
    body = completion(None)
    body["choices"][0]["message"]["tool_calls"] = [call("a").model_dump()]
    return httpx.Response(200, json=body)


async def test_an_answer_may_be_a_call_alone() -> None:
    answer = await Server(calling()).backend().answer(prompt(generation=OFFERING))
    assert (answer.text, answer.tool_calls, answer.finish_reason) == ("", (call("a"),), "tool_calls")


async def test_a_streamed_call() -> None:
    deltas = [
        {"content": "I look it up."},
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "days_left"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"person":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ' "ada"}'}}]},
    ]
    events = [{"choices": [{"delta": delta, "finish_reason": None}]} for delta in deltas]
    events.append({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
    content = b"".join(b"data: %s\n\n" % orjson.dumps(event) for event in events) + b"data: [DONE]\n\n"
    response = httpx.Response(200, content=content, headers={"content-type": "text/event-stream"})
    said: list[str] = []
    answer = await Server(response).backend().answer(prompt(generation=OFFERING, stream=True), said.append)
    assert (answer.text, "".join(said)) == ("I look it up.", "I look it up.")
    assert answer.tool_calls == (call("a", '{"person": "ada"}'),)
    assert answer.finish_reason == "tool_calls"


@pytest.mark.parametrize("generation", [Generation(), OFFERING.model_copy(update={"tool_choice": "none"})])
async def test_a_call_that_nobody_offered_is_no_answer(generation: Generation) -> None:
    with pytest.raises(Transient, match="empty"):
        await Server(calling()).backend().answer(prompt(generation=generation))


async def test_the_extractive_answerer_says_that_it_calls_nothing() -> None:
    backend = ExtractiveBackend(ExtractiveSettings())
    with pytest.raises(RequestRefused) as refused:
        await backend.answer(prompt(passages=[passage()], generation=OFFERING))
    assert refused.value.code == TOOLS_NOT_SUPPORTED
    unwanted = OFFERING.model_copy(update={"tool_choice": "none"})
    assert (await backend.answer(prompt(passages=[passage()], generation=unwanted))).text
