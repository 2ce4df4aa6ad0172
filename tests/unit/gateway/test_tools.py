"""Tools pass through the door in both directions, to OpenAI's own client too."""

import json
from typing import Any

import pytest
from openai import AsyncOpenAI

from schemas.chat import FunctionCall, ToolCall
from tests.unit.gateway.conftest import Door
from tests.unit.gateway.serving import asked, failure, reply

FUNCTION = {"name": "days_left", "parameters": {"type": "object", "properties": {"person": {"type": "string"}}}}
TOOLS: Any = [{"type": "function", "function": FUNCTION}]
CALL = ToolCall(id="call_1", function=FunctionCall(name="days_left", arguments='{"person": "ada"}'))
QUESTION: Any = {"role": "user", "content": "How many days has Ada left?"}
CALLED: Any = {"role": "assistant", "content": None, "tool_calls": [CALL.model_dump()]}
RESULT: Any = {"role": "tool", "tool_call_id": "call_1", "content": '{"days": 7}'}


async def test_tools_go_with_the_question_and_calls_come_back(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = lambda request: [reply(request, "final", tool_calls=(CALL,), finish_reason="tool_calls")]
    chosen: Any = {"type": "function", "function": {"name": "days_left"}}
    answer = await client.chat.completions.create(
        model="qwen", messages=[QUESTION], tools=TOOLS, tool_choice=chosen, parallel_tool_calls=False
    )
    generation = (await asked(door)).generation
    assert generation.tools == ({"type": "function", "function": FUNCTION},)
    assert (generation.tool_choice, generation.parallel_tool_calls) == (chosen, False)
    choice = answer.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert choice.message.tool_calls is not None
    assert choice.message.tool_calls[0].model_dump() == CALL.model_dump()


async def test_calls_come_in_a_stream_too(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = lambda request: [
        reply(request, "delta", "I look it up."),
        reply(request, "final", "I look it up.", 1, tool_calls=(CALL, CALL), finish_reason="tool_calls"),
    ]
    async with client.chat.completions.stream(model="qwen", messages=[QUESTION], tools=TOOLS) as stream:
        whole = await stream.get_final_completion()
    message = whole.choices[0].message
    assert (message.content, whole.choices[0].finish_reason) == ("I look it up.", "tool_calls")
    assert [call.function.arguments for call in message.tool_calls or ()] == ['{"person": "ada"}'] * 2


async def test_a_result_goes_back_to_the_model(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = lambda request: [reply(request, "final", "Seven.")]
    answer = await client.chat.completions.create(model="qwen", messages=[QUESTION, CALLED, RESULT], tools=TOOLS)
    assert answer.choices[0].message.content == "Seven."
    _, called, result = (await asked(door)).messages
    assert (called.content, called.tool_calls) == ("", (CALL,))
    assert (result.role, result.content, result.tool_call_id) == ("tool", '{"days": 7}', "call_1")


async def test_who_calls_no_tools_says_so(door: Door) -> None:
    door.log.answer = lambda request: [failure(request, "tools_not_supported")]
    body = {"model": "extractive", "messages": [QUESTION], "tools": TOOLS}
    response = await door.client.post("/v1/chat/completions", json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "tools_not_supported")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"tools": [{"type": "function", "function": {"name": "no spaces"}}]}, "tools.0.function.name"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"x": "\ud800"}}}]},
            "tools.0.function.parameters",
        ),
        ({"response_format": {"type": "json_schema", "json_schema": {"x": 2**70}}}, "response_format.json_schema"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
        ({"messages": [QUESTION, RESULT]}, "messages.1.tool_call_id"),
        ({"messages": [QUESTION, CALLED, QUESTION]}, "messages.1.tool_calls"),
        ({"messages": [QUESTION, CALLED, RESULT, RESULT]}, "messages.3.tool_call_id"),
        ({"messages": [QUESTION, CALLED]}, "messages.1.tool_calls"),
        ({"messages": [QUESTION, {"role": "tool", "content": "x"}]}, "messages.1.tool_call_id"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content"),
        ({"messages": [CALLED, RESULT | {"content": ""}]}, "messages"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_its_name(door: Door, body: dict[str, Any], param: str) -> None:
    content = json.dumps({"messages": [QUESTION]} | body)
    headers = {"content-type": "application/json"}
    response = await door.client.post("/v1/chat/completions", content=content, headers=headers)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param
    assert door.log.published == []
