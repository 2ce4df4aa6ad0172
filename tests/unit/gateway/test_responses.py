"""OpenAI's responses: whole, as events, and gone on from, to OpenAI's own client."""

from typing import Any, cast
from uuid import UUID, uuid4

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import ResponseOutputMessage, ResponseOutputText
from pydantic import BaseModel

from infra.postgres.turns import Turns
from schemas.chat import ChatMessage, Citation, FunctionCall, ToolCall, Usage
from tests.eventually import eventually
from tests.unit.gateway.conftest import Door
from tests.unit.gateway.serving import asked, caller, cancels, failure, reply, telling

CITATION = Citation(number=1, document_id=uuid4(), version=3, start=0, end=4, quote="Yes.", title="T", url="http://t")
USAGE = Usage(prompt_tokens=7, completion_tokens=2)
TOOLS: Any = [{"type": "function", "name": "days_left", "parameters": {"type": "object"}, "strict": False}]
CALL = ToolCall(id="call_1", function=FunctionCall(name="days_left", arguments='{"person": "ada"}'))
QUESTION: Any = {"role": "user", "content": "How many days has Ada left?"}
CALLED: Any = {"type": "function_call", "call_id": "call_1", "name": "days_left", "arguments": '{"person": "ada"}'}
RESULT: Any = {"type": "function_call_output", "call_id": "call_1", "output": '{"days": 7}'}


def words(response: openai.types.responses.Response) -> ResponseOutputText:
    return cast(ResponseOutputText, cast(ResponseOutputMessage, response.output[0]).content[0])


async def test_a_whole_response_with_its_citations(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = telling("Yes [1].", citations=(CITATION,), usage=USAGE, model="m-1", finish_reason="stop")
    response = await client.responses.create(
        model="millrace",
        instructions="Be brief.",
        input="Is it?",
        max_output_tokens=50,
        temperature=0.2,
        top_p=0.9,
        metadata={"team": "a"},
        extra_body={"millrace": {"retrieve": False, "top_k": 3}},
    )
    request = await asked(door)
    assert [(message.role, message.content) for message in request.messages] == [
        ("system", "Be brief."),
        ("user", "Is it?"),
    ]
    assert (request.model, request.retrieve, request.top_k, request.purpose) == ("", False, 3, "chat")
    limits = request.generation
    assert (limits.max_tokens, limits.temperature, limits.top_p, limits.response_format) == (50, 0.2, 0.9, None)
    assert (response.id, response.status, response.model) == (f"resp_{request.request_id}", "completed", "m-1")
    assert response.output_text == "Yes [1]."
    (annotation,) = words(response).annotations
    assert annotation.model_dump() == {
        "type": "url_citation",
        "start_index": 4,
        "end_index": 7,
        "title": "T",
        "url": "http://t",
    }
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (7, 2, 9)
    assert (response.metadata, response.instructions) == ({"team": "a"}, "Be brief.")
    assert (response.model_extra or {})["millrace"]["citations"][0]["quote"] == "Yes."


async def test_the_events_of_a_stream(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = telling("Ye", "s [1].", citations=(CITATION,), usage=USAGE)
    stream = await client.responses.create(model="millrace", input="Is it?", stream=True)
    events = [event async for event in stream]
    kinds = [event.type for event in events]
    deltas = kinds.count("response.output_text.delta")
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * deltas,
        "response.output_text.annotation.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Yes [1]."
    last = events[-1]
    assert last.type == "response.completed"
    assert (last.response.output_text, last.response.id) == ("Yes [1].", events[0].response.id)  # type: ignore[union-attr]


async def test_openais_own_reader_puts_the_stream_together(door: Door, client: AsyncOpenAI) -> None:
    class Days(BaseModel):
        days: int

    door.log.answer = telling('{"days"', ": 7}")
    async with client.responses.stream(model="millrace", input="How many?", text_format=Days) as stream:
        final = await stream.get_final_response()
    assert final.output_parsed == Days(days=7)
    form = (await asked(door)).generation.response_format
    assert form is not None
    assert (form["type"], form["json_schema"]["name"], form["json_schema"]["strict"]) == ("json_schema", "Days", True)
    assert form["json_schema"]["schema"]["required"] == ["days"]


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [("length", "incomplete", "max_output_tokens"), ("content_filter", "incomplete", "content_filter")],
)
async def test_an_answer_that_was_cut_is_incomplete(
    door: Door, client: AsyncOpenAI, finish: str, status: str, reason: str
) -> None:
    door.log.answer = telling("Yes and", finish_reason=finish)
    response = await client.responses.create(model="millrace", input="Is it?")
    assert (response.status, response.output_text) == (status, "Yes and")
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == reason
    stream = await client.responses.create(model="millrace", input="Is it?", stream=True)
    assert [event.type async for event in stream][-1] == f"response.{status}"


async def test_an_answer_that_broke_off_has_failed_and_shows_what_there_is(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = telling("Yes and", finish_reason="error", degraded=True)
    response = await client.responses.create(model="millrace", input="Is it?")
    assert (response.status, response.output_text) == ("failed", "Yes and")
    assert response.error is not None
    assert response.error.code == "server_error"


async def test_an_error_after_the_first_word_is_a_failed_response(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = lambda request: [reply(request, "delta", "Ye"), failure(request, "backend_unavailable")]
    stream = await client.responses.create(model="millrace", input="Is it?", stream=True)
    last = [event async for event in stream][-1]
    assert last.type == "response.failed"
    assert last.response.error is not None  # type: ignore[union-attr]
    assert "dependency_unavailable" in last.response.error.message  # type: ignore[union-attr]


async def test_a_refusal_before_the_first_word_has_a_status(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = lambda request: [failure(request, "unknown_model")]
    with pytest.raises(openai.NotFoundError) as refused:
        await client.responses.create(model="other", input="Is it?", stream=True)
    assert refused.value.code == "model_not_found"


async def test_going_on_from_a_response(door: Door, client: AsyncOpenAI) -> None:
    previous, conversation = uuid4(), uuid4()
    turns = (ChatMessage(role="user", content="Is it?"), ChatMessage(role="assistant", content="Yes."))
    door.turns["acme", previous] = Turns(conversation, turns)
    door.log.answer = telling("Because.")
    response = await client.responses.create(
        model="millrace", instructions="New.", input="Why?", previous_response_id=f"resp_{previous}"
    )
    request = await asked(door)
    assert [message.content for message in request.messages] == ["New.", "Is it?", "Yes.", "Why?"]
    assert request.conversation_id == conversation
    assert response.previous_response_id == f"resp_{previous}"


async def test_a_response_given_a_moment_ago_is_waited_for(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = telling("Yes.")
    first = await client.responses.create(model="millrace", input="Is it?")
    looked = 0

    async def archived_late(workspace: str, request_id: UUID) -> Turns | None:
        nonlocal looked
        looked += 1
        here = (workspace, f"resp_{request_id}") == ("acme", first.id) and looked > 2
        return Turns(uuid4(), (ChatMessage(role="user", content="Is it?"),)) if here else None

    door.connections.turns_until = archived_late
    second = await client.responses.create(model="millrace", input="Why?", previous_response_id=first.id)
    assert (second.output_text, looked) == ("Yes.", 3)


@pytest.mark.parametrize("name", ["resp_x", f"resp_{UUID(int=5)}", ""])
async def test_an_unknown_previous_response_is_not_found(door: Door, name: str) -> None:
    # Nor is that of another workspace.
    door.turns["globex", UUID(int=1)] = Turns(uuid4(), ())
    for each in (name, f"resp_{UUID(int=1)}"):
        body = {"input": "Why?", "previous_response_id": each}
        response = await door.client.post("/v1/responses", json=body)
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (404, "request_not_found")
        assert error["param"] == "previous_response_id"


async def test_what_is_not_stored_leaves_no_conversation(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = telling("Yes.")
    response = await client.responses.create(model="millrace", input="Is it?", store=False)
    assert (await asked(door)).purpose == "query"
    assert (response.model_extra or {})["store"] is False


async def test_messages_of_every_role_can_be_sent(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = telling("Yes.")
    given: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "Is"}, {"type": "input_text", "text": "it?"}]},
        {"type": "message", "role": "assistant", "id": "msg_1", "content": [{"type": "output_text", "text": "Yes."}]},
        {"role": "user", "content": "Why?"},
    ]
    await client.responses.create(model="millrace", input=given)
    assert [(each.role, each.content) for each in (await asked(door)).messages] == [
        ("system", "Be brief."),
        ("user", "Is\nit?"),
        ("assistant", "Yes."),
        ("user", "Why?"),
    ]


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"background": True}, "unsupported_parameter", "background"),
        ({"conversation": "conv_1"}, "unsupported_parameter", "conversation"),
        ({"prompt": {"id": "p"}}, "unsupported_parameter", "prompt"),
        ({"top_logprobs": 3}, "unsupported_parameter", "top_logprobs"),
        ({"tools": [{"type": "web_search"}]}, "invalid_request", "tools.0.type"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "name": "x"}}, "invalid_request", "tool_choice"),
        ({"input": [QUESTION, RESULT]}, "invalid_request", "input"),
        ({"input": [QUESTION, CALLED]}, "invalid_request", "input"),
        ({"input": [QUESTION, CALLED, QUESTION]}, "invalid_request", "input"),
        ({"input": [{"role": "king", "content": "a"}]}, "invalid_request", "input.0.role"),
        ({"input": [{"role": "user", "content": 7}]}, "invalid_request", "input.0.content"),
        ({"input": [CALLED, RESULT | {"output": ""}]}, "invalid_request", "input"),
        ({"input": []}, "invalid_request", "input"),
        ({"input": "  "}, "invalid_request", "input"),
        ({"input": 7}, "invalid_request", "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "unsupported_content", "input.0"),
        ({"max_output_tokens": -1}, "invalid_request", "max_output_tokens"),
        ({"temperature": 3}, "invalid_request", "temperature"),
        ({"text": {"format": {"type": "json_schema"}}}, "invalid_request", "text.format"),
        ({"text": {"format": {"type": "grammar"}}}, "invalid_request", "text.format.type"),
        (
            {"previous_response_id": f"resp_{uuid4()}", "millrace": {"conversation_id": str(uuid4())}},
            "invalid_request",
            "millrace.conversation_id",
        ),
    ],
)
async def test_what_is_refused_says_why(door: Door, change: dict[str, Any], code: str, param: str) -> None:
    response = await door.client.post("/v1/responses", json={"input": "q"} | change)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, code, param), error
    assert door.log.published == []


async def test_hanging_up_cancels(door: Door, url: str) -> None:
    door.log.answer = lambda request: [reply(request, "delta", "Ye")]
    body = {"input": "Is it?", "stream": True}
    async with caller(url) as client, client.stream("POST", "/v1/responses", json=body) as response:
        assert response.status_code == 200
    await eventually(lambda: cancels(door))
    assert cancels(door)[0].request_id == (await asked(door)).request_id


async def test_a_repetition_is_not_asked_twice(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = telling("Yes.")
    headers = {"Idempotency-Key": "once"}
    first = await client.responses.create(model="millrace", input="Is it?", extra_headers=headers)
    again = await client.responses.create(model="millrace", input="Is it?", extra_headers=headers)
    assert first.id == again.id
    assert len(door.log.bodies) == 1


async def test_functions_go_with_the_question_and_calls_come_back(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = lambda request: [reply(request, "final", tool_calls=(CALL, CALL), finish_reason="tool_calls")]
    chosen: Any = {"type": "function", "name": "days_left"}
    response = await client.responses.create(
        model="qwen", input=[QUESTION], tools=TOOLS, tool_choice=chosen, parallel_tool_calls=False
    )
    generation = (await asked(door)).generation
    function = {"name": "days_left", "parameters": {"type": "object"}, "strict": False}
    assert generation.tools == ({"type": "function", "function": function},)
    assert generation.tool_choice == {"type": "function", "function": {"name": "days_left"}}
    assert generation.parallel_tool_calls is False
    assert [(item.type, getattr(item, "call_id", None)) for item in response.output] == [
        ("function_call", "call_1")
    ] * 2
    assert (response.status, response.output_text, response.tools[0].type) == ("completed", "", "function")


async def test_calls_come_in_a_stream_after_what_was_said(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = telling("I look it up.", tool_calls=(CALL,), finish_reason="tool_calls")
    async with client.responses.stream(model="qwen", input=[QUESTION], tools=TOOLS) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert [item.type for item in final.output] == ["message", "function_call"]
    assert kinds[-5:] == [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    call = cast(Any, final.output[1])
    assert (call.name, call.arguments, call.status) == ("days_left", '{"person": "ada"}', "completed")


async def test_a_call_alone_has_no_message(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = lambda request: [reply(request, "final", tool_calls=(CALL,), finish_reason="tool_calls")]
    async with client.responses.stream(model="qwen", input=[QUESTION], tools=TOOLS) as stream:
        assert [item.type for item in (await stream.get_final_response()).output] == ["function_call"]


async def test_results_go_back_to_the_model(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = telling("Seven.")
    said: Any = {"role": "assistant", "content": "I look it up."}
    other = CALLED | {"call_id": "call_2"}
    given = [QUESTION, said, CALLED, other, RESULT, RESULT | {"call_id": "call_2"}]
    response = await client.responses.create(model="qwen", input=given, tools=TOOLS)
    assert response.output_text == "Seven."
    messages = (await asked(door)).messages
    assert [message.role for message in messages] == ["user", "assistant", "tool", "tool"]
    assert (messages[1].content, messages[1].tool_calls) == (
        "I look it up.",
        (CALL, CALL.model_copy(update={"id": "call_2"})),
    )
    assert (messages[3].content, messages[3].tool_call_id) == ('{"days": 7}', "call_2")


async def test_who_answers_may_be_wished_for_here_too(door: Door, client: AsyncOpenAI) -> None:
    door.log.answer = telling("Yes.")
    wishes = {"millrace": {"intent": "code", "cached": False}}
    await client.responses.create(model="millrace", input="Is it?", extra_body=wishes)
    request = await asked(door)
    assert (request.intent, request.cached) == ("code", False)
