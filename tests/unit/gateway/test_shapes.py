"""Requests as clients really write them: what OpenAI reads is read, what cannot be done is refused by its name."""

from typing import Any

import httpx
import pytest

from gateway.problems import COMPLETIONS_PATH, EMBEDDINGS_PATH, MODELS_PATH, RESPONSES_PATH
from schemas.chat import ChatRequest, FunctionCall, ToolCall
from tests.unit.gateway.conftest import Door
from tests.unit.gateway.serving import telling

Body = dict[str, Any]
Said = list[tuple[str, str]]

U: Body = {"role": "user", "content": "What is a weir?"}
CALL: Body = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
TOOL: Body = {"type": "function", "function": {"name": "look"}}
OTHER: Body = {"type": "function", "function": {"name": "other"}}
ASKED: Said = [("user", "What is a weir?")]


def assistant(content: Any, **fields: Any) -> Body:
    return {"role": "assistant", "content": content, **fields}


def said(request: ChatRequest) -> Said:
    return [(message.role, message.content) for message in request.messages]


def question(door: Door) -> ChatRequest:
    request = door.log.bodies[-1]
    assert isinstance(request, ChatRequest)
    return request


async def complete(door: Door, **body: Any) -> httpx.Response:
    door.log.answer = telling("A dam.", finish_reason="stop")
    return await door.client.post(COMPLETIONS_PATH, json={"model": "millrace", "messages": [U]} | body)


async def respond(door: Door, **body: Any) -> httpx.Response:
    door.log.answer = telling("A dam.", finish_reason="stop")
    return await door.client.post(RESPONSES_PATH, json={"model": "millrace", "input": "What is a weir?"} | body)


GO_ON: Body = {"role": "user", "content": "Go on."}


@pytest.mark.parametrize(
    ("messages", "heard"),
    [
        ([U, assistant(None), GO_ON], [*ASKED, ("user", "Go on.")]),
        ([U, assistant(""), GO_ON], [*ASKED, ("user", "Go on.")]),
        ([U, {"role": "assistant"}, GO_ON], [*ASKED, ("user", "Go on.")]),
        ([U, assistant([]), GO_ON], [*ASKED, ("user", "Go on.")]),
        ([U, assistant("A dam.", tool_calls=[]), GO_ON], [*ASKED, ("assistant", "A dam."), ("user", "Go on.")]),
        ([U, assistant(None, refusal="No."), GO_ON], [*ASKED, ("assistant", "No."), ("user", "Go on.")]),
        (
            [U, assistant([{"type": "refusal", "refusal": "No."}]), GO_ON],
            [*ASKED, ("assistant", "No."), ("user", "Go on.")],
        ),
        (
            [U, assistant([{"type": "output_text", "text": "A"}, {"type": "text", "text": "dam."}]), GO_ON],
            [*ASKED, ("assistant", "A\ndam."), ("user", "Go on.")],
        ),
        (
            [U, assistant([{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "A dam."}]), GO_ON],
            [*ASKED, ("assistant", "A dam."), ("user", "Go on.")],
        ),
        ([{"role": "user", "content": [{"type": "input_text", "text": "What?"}]}], [("user", "What?")]),
        ([{"role": "user", "content": [{"text": "What?"}]}], [("user", "What?")]),
        ([U, assistant("A weir is a")], [*ASKED, ("assistant", "A weir is a")]),
        ([U, assistant("A weir"), assistant("is a")], [*ASKED, ("assistant", "A weir"), ("assistant", "is a")]),
        ([{"role": "system", "content": "Say hello."}], [("user", "Say hello.")]),
        ([{"role": "developer", "content": "Say hello."}], [("user", "Say hello.")]),
        ([assistant("Hello")], [("user", "Hello")]),
        ([U, {"role": "system", "content": "Be brief."}], [*ASKED, ("system", "Be brief.")]),
        ([{"role": "user", "content": ""}, U], ASKED),
        ([U, {"role": "user", "content": " "}], ASKED),
        ([{"role": "user", "name": "maren", "content": "What?"}], [("user", "What?")]),
        ([U | {"tool_calls": None, "refusal": None, "audio": None, "name": None}], ASKED),
        ([U | {"id": 17, "metadata": {"a": 1}, "cache_control": {"type": "ephemeral"}}], ASKED),
    ],
)
async def test_histories_are_read(door: Door, messages: list[Body], heard: Said) -> None:
    response = await complete(door, messages=messages)
    assert response.status_code == 200, response.text
    assert said(question(door)) == heard


async def test_functions_of_before_there_were_tools(door: Door) -> None:
    called = assistant(None, function_call={"name": "look", "arguments": '{"at": 1}'})
    returned = {"role": "function", "name": "look", "content": "3 m"}
    response = await complete(door, messages=[U, called, returned, GO_ON])
    assert response.status_code == 200, response.text
    _, calling, result, _ = question(door).messages
    (call,) = calling.tool_calls
    assert call.function == FunctionCall(name="look", arguments='{"at": 1}')
    assert (result.role, result.content, result.tool_call_id) == ("tool", "3 m", call.id)


async def test_a_function_that_nobody_called_returns(door: Door) -> None:
    response = await complete(door, messages=[U, {"role": "function", "name": "look", "content": "3 m"}])
    assert response.status_code == 200, response.text
    _, calling, result = question(door).messages
    assert [call.function.name for call in calling.tool_calls] == ["look"]
    assert result.tool_call_id == calling.tool_calls[0].id


async def test_an_agent_that_has_forgotten_its_question_goes_on(door: Door) -> None:
    result = {"role": "tool", "tool_call_id": "c1", "content": "3 m"}
    assert (await complete(door, messages=[assistant(None, tool_calls=[CALL]), result])).status_code == 200
    assert said(question(door)) == [("user", "3 m"), ("assistant", ""), ("tool", "3 m")]


@pytest.mark.parametrize("content", [None, "", [], [{"type": "text", "text": ""}]])
async def test_a_tool_may_return_nothing(door: Door, content: Any) -> None:
    result = {"role": "tool", "tool_call_id": "c1", "content": content}
    response = await complete(door, messages=[U, assistant(None, tool_calls=[CALL]), result])
    assert response.status_code == 200, response.text
    assert question(door).messages[-1].tool_call_id == "c1"


@pytest.mark.parametrize("streamed", [False, True])
async def test_who_declares_functions_is_answered_with_one(door: Door, streamed: bool) -> None:
    call = ToolCall(id="c1", function=FunctionCall(name="look", arguments="{}"))
    door.log.answer = telling(finish_reason="tool_calls", tool_calls=(call,))
    functions = [{"name": "look", "parameters": {"type": "object"}}]
    body = {"messages": [U], "functions": functions, "function_call": {"name": "look"}, "stream": streamed}
    response = await door.client.post(COMPLETIONS_PATH, json=body)
    generation = question(door).generation
    assert [tool["function"]["name"] for tool in generation.tools] == ["look"]
    assert (generation.tool_choice, generation.parallel_tool_calls) == (TOOL, False)
    if streamed:
        assert '"function_call":{"name":"look","arguments":"{}"}' in response.text
        assert '"finish_reason":"function_call"' in response.text
        assert "tool_calls" not in response.text
        return
    choice = response.json()["choices"][0]
    assert choice["message"]["function_call"] == {"name": "look", "arguments": "{}"}
    assert (choice["finish_reason"], choice["message"]["content"]) == ("function_call", None)
    assert "tool_calls" not in choice["message"]


async def test_some_tools_may_be_allowed(door: Door) -> None:
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}}
    assert (await complete(door, tools=[TOOL, OTHER], tool_choice=allowed)).status_code == 200
    generation = question(door).generation
    assert ([tool["function"]["name"] for tool in generation.tools], generation.tool_choice) == (["look"], "required")
    flat = [{"type": "function", "name": name} for name in ("look", "other")]
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": flat[1:]}
    assert (await respond(door, tools=flat, tool_choice=allowed)).status_code == 200
    generation = question(door).generation
    assert ([tool["function"]["name"] for tool in generation.tools], generation.tool_choice) == (["other"], "auto")


@pytest.mark.parametrize(
    "wishes",
    [
        {"stop": ""},
        {"stop": []},
        {"stop": [""]},
        {"stop": None},
        {"n": 1},
        {"n": None},
        {"logprobs": False, "top_logprobs": None},
        {"logprobs": None, "top_logprobs": 0},
        {"stream_options": None},
        {"stream_options": {"include_usage": None}},
        {"stream": None},
        {"temperature": 2},
        {"temperature": 0},
        {"top_p": 1},
        {"presence_penalty": -2, "frequency_penalty": 2, "logit_bias": {}},
        {"response_format": {"type": "text"}},
        {"response_format": None},
        {"tools": None, "tool_choice": None, "parallel_tool_calls": None},
        {"tools": [], "tool_choice": "auto"},
        {"functions": None, "function_call": None},
        {"functions": [], "function_call": "auto"},
        {"reasoning_effort": "high", "verbosity": "low", "service_tier": "auto", "prediction": None},
        {"modalities": ["text"], "audio": None},
        {"user": {"name": "Ada"}, "metadata": {"a": "b"}, "safety_identifier": "x", "prompt_cache_key": "y"},
        {"store": None, "seed": None, "max_tokens": None, "max_completion_tokens": None},
        {"millrace": None},
        {"web_search_options": {}, "unknown": [1, {"deep": None}]},
    ],
    ids=str,
)
async def test_wishes_that_change_nothing_are_taken(door: Door, wishes: Body) -> None:
    response = await complete(door, **wishes)
    assert response.status_code == 200, response.text
    assert question(door).generation.stop == ()


async def test_the_likeliest_token_alone(door: Door) -> None:
    """Model servers refuse 0, which OpenAI takes."""
    assert (await complete(door, top_p=0)).status_code == 200
    assert 0 < (question(door).generation.top_p or 0) < 1e-3
    assert (await respond(door, top_p=0)).status_code == 200
    assert 0 < (question(door).generation.top_p or 0) < 1e-3


def part(**fields: Any) -> Body:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, fields]}]}


URL = "data:image/png;base64,iVBORw0KGgo="


@pytest.mark.parametrize(
    ("body", "code", "named"),
    [
        (part(type="image_url", image_url={"url": URL}), "unsupported_content", ("messages.0.content.1", "images")),
        (part(type="input_image", image_url=URL), "unsupported_content", ("messages.0.content.1", "images")),
        (part(type="input_audio", input_audio={}), "unsupported_content", ("messages.0.content.1", "audio")),
        (part(type="file", file={"file_id": "f"}), "unsupported_content", ("messages.0.content.1", "files")),
        (part(type="video_url", video_url={}), "unsupported_content", ("messages.0.content.1", "videos")),
        (part(type="hologram"), "unsupported_content", ("messages.0.content.1", "hologram")),
        (part(type=7), "unsupported_content", ("messages.0.content.1", "7")),
        (part(type={"a": 1}), "unsupported_content", ("messages.0.content.1", "a")),
        (part(type=["text"]), "unsupported_content", ("messages.0.content.1", "text")),
        (part(type=None), "unsupported_content", ("messages.0.content.1", "None")),
        (part(type="text"), "invalid_request", ("messages.0.content.1.text", "required")),
        ({"messages": [{"role": "user", "content": None}]}, "invalid_request", ("messages.0.content", "content")),
        ({"messages": [{"role": "user"}]}, "invalid_request", ("messages.0.content", "content")),
        ({"messages": [{"role": "user", "content": ""}]}, "invalid_request", ("messages", "nothing is asked")),
        ({"messages": [U, {"role": "function", "content": "3 m"}]}, "invalid_request", ("messages.1.name", "function")),
        ({"messages": [U, assistant(None, tool_calls=[CALL])]}, "invalid_request", ("messages.1.tool_calls", "c1")),
        ({"logprobs": True}, "unsupported_parameter", ("logprobs", "probabilities")),
        ({"top_logprobs": 5}, "unsupported_parameter", ("top_logprobs", "probabilities")),
        ({"modalities": ["text", "audio"]}, "unsupported_parameter", ("modalities", "text")),
        ({"audio": {"voice": "ash"}}, "unsupported_parameter", ("audio", "text")),
        ({"n": 2}, "invalid_request", ("n", "1")),
        ({"response_format": {"type": "json_schema"}}, "invalid_request", ("response_format.json_schema", "schema")),
    ],
    ids=lambda value: str(value)[:60],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_cannot_be_done_is_named(
    door: Door, body: Body, code: str, named: tuple[str, str], stream: bool
) -> None:
    response = await door.client.post(COMPLETIONS_PATH, json={"messages": [U], "stream": stream} | body)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, code, named[0]), error
    assert named[1] in error["message"]
    assert door.log.published == []


@pytest.mark.parametrize(
    ("given", "heard"),
    [
        ({"input": [{"type": "message", **U}]}, ASKED),
        ({"input": [{"type": None, **U}]}, ASKED),
        ({"input": [U, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, GO_ON]}, None),
        ({"input": [U, {"type": "reasoning", "id": "rs_1", "summary": []}, assistant("A dam."), GO_ON]}, None),
        ({"input": [U, assistant("A weir is a")]}, [*ASKED, ("assistant", "A weir is a")]),
        ({"input": [{"role": "developer", "content": "Say hello."}]}, [("user", "Say hello.")]),
        ({"input": [U, {"role": "system", "content": "Be brief."}]}, [*ASKED, ("system", "Be brief.")]),
        ({"instructions": None, "text": None, "metadata": None, "reasoning": None, "include": None}, ASKED),
        ({"text": {"format": None, "verbosity": "low"}, "truncation": "auto", "store": None, "user": "u"}, ASKED),
        ({"millrace": None, "tools": None, "tool_choice": None, "max_output_tokens": None}, ASKED),
        ({"background": False, "conversation": None, "prompt": None, "top_logprobs": 0}, ASKED),
    ],
    ids=str,
)
async def test_inputs_of_responses_are_read(door: Door, given: Body, heard: Said | None) -> None:
    response = await respond(door, **given)
    assert response.status_code == 200, response.text
    if heard is None:
        assert said(question(door))[-1] == ("user", "Go on.")
    else:
        assert said(question(door)) == heard


@pytest.mark.parametrize(
    ("given", "param", "word"),
    [
        ([{"role": "user", "content": [{"type": "input_image", "image_url": URL}]}], "input.0.content.0", "images"),
        ([{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}], "input.0.content.0", "files"),
        ([U, {"type": "item_reference", "id": "x"}], "input.1", "item_reference"),
        ([U, {"type": {"a": 1}}], "input.1", "a"),
        ([U, {"type": ["reasoning"]}], "input.1", "reasoning"),
        ([U, 7], "input.1", "int"),
        ([U, {"type": "web_search_call", "id": "x"}], "input.1", "web_search_call"),
        (
            [
                U,
                {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image"}]},
            ],
            "input.2.output.0",
            "images",
        ),
    ],
)
async def test_what_responses_cannot_read_is_named(door: Door, given: list[Body], param: str, word: str) -> None:
    error = (await respond(door, input=given)).json()["error"]
    assert (error["code"], error["param"]) == ("unsupported_content", param), error
    assert word in error["message"]


BODY = b'{"messages": [{"role": "user", "content": "What is a weir?"}]}'


@pytest.mark.parametrize(
    ("path", "headers", "body"),
    [
        ("/v1/chat/completions/", {"content-type": "application/json"}, BODY),
        ("/v1//chat/completions", {"content-type": "application/json"}, BODY),
        ("//v1/chat//completions//", {"content-type": "application/json"}, BODY),
        ("/v1/chat/completions", {}, BODY),
        ("/v1/chat/completions", {"content-type": "application/json; charset=utf-8"}, BODY),
        ("/v1/chat/completions", {"content-type": "Application/JSON"}, BODY),
        ("/v1/chat/completions", {"content-type": "application/x-www-form-urlencoded"}, BODY),
        ("/v1/chat/completions", {"content-type": "text/plain;charset=UTF-8"}, BODY),
        ("/v1/chat/completions", {"content-type": "application/json"}, b"\xef\xbb\xbf" + BODY),
        ("/v1/chat/completions", {}, b"\xef\xbb\xbf" + BODY),
    ],
)
async def test_addresses_and_types_are_taken_as_they_are_meant(
    door: Door, path: str, headers: dict[str, str], body: bytes
) -> None:
    door.log.answer = telling("A dam.")
    response = await door.client.post(f"http://gateway{path}", content=body, headers=headers)
    assert response.status_code == 200, response.text
    assert said(question(door)) == ASKED


@pytest.mark.parametrize("path", [f"{MODELS_PATH}/", f"/v1/{MODELS_PATH[4:]}", "//v1///models", "/health/live/"])
async def test_slashes_too_many_say_nothing(door: Door, path: str) -> None:
    assert (await door.client.get(f"http://gateway{path}")).status_code == 200
    head = await door.client.head(f"http://gateway{path}")
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("path", ["//v1/models", "/v1/models/", "/v1//sources"])
async def test_a_slash_too_many_lets_nobody_in(door: Door, path: str) -> None:
    response = await door.client.get(f"http://gateway{path}", headers={"authorization": ""})
    assert response.status_code == 401


@pytest.mark.parametrize(
    "path", ["/v1/completions", "/v1/audio/transcriptions", "/v1/images/generations", "/v1/files", "/v1/moderations"]
)
async def test_what_openai_has_besides_is_said_not_to_be_offered(door: Door, path: str) -> None:
    response = await door.client.post(path, json={"model": "millrace", "prompt": "a"})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["type"]) == (404, "not_found", "not_found_error")
    assert path in error["message"]
    assert COMPLETIONS_PATH in error["message"]


@pytest.mark.parametrize("given", ["", [], ["a", ""], [[1, 2]], [1, 2], None, 7, [None]])
async def test_what_is_not_embedded_is_refused_in_words(door: Door, given: Any) -> None:
    response = await door.client.post(EMBEDDINGS_PATH, json={"model": "millrace-embeddings", "input": given})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "invalid_request")
    assert error["param"].startswith("input")
    assert error["message"]


@pytest.mark.parametrize("host", ["gateway:8080", "a b", "[::1]:80", "<script>", "x/../y", ""])
async def test_what_has_no_address_of_its_own_has_a_real_one_here(door: Door, host: str) -> None:
    """Checked against OpenAI's schema, as every answer is: an annotation's address is a URI."""
    citation = {"number": 1, "document_id": "0" * 32, "version": 1, "start": 0, "end": 1, "quote": "A"}
    for url in ("", "docs/a b.md", "http://a/ü?q=a b#c#d%", "http://[bad", "file:///a b", "mailto:a@b"):
        door.log.answer = telling("A dam [1].", citations=(citation | {"url": url},))
        body = {"messages": [U]}
        response = await door.client.post(COMPLETIONS_PATH, json=body, headers={"host": host})
        assert response.status_code == 200, response.text
        (annotation,) = response.json()["choices"][0]["message"]["annotations"]
        assert annotation["url_citation"]["url"].partition(":")[0] in ("http", "file", "mailto")
