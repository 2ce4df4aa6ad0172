"""The short way of a request gives what the framework's gives, and leaves to it what is not plain."""

from typing import Any

import httpx
import pytest
from prometheus_client import generate_latest

from gateway.problems import COMPLETIONS_PATH, RESPONSES_PATH
from gateway.routes.completions import CompletionRequest
from infra.telemetry.metrics import REGISTRY
from tests.unit.gateway.conftest import Door, assert_problem
from tests.unit.gateway.serving import failure, telling

QUESTION = {"messages": [{"role": "user", "content": "How often are keys rotated?"}]}
BODIES = {
    COMPLETIONS_PATH: QUESTION,
    RESPONSES_PATH: {"input": "How often are keys rotated?"},
    "/v1/chat": {"message": "How often are keys rotated?"},
}
LONG_WAY = {"content-type": "application/json; charset=utf-8"}
"""A body that is read in the same way, by the framework."""
CHANGING = {"id", "created", "created_at", "completed_at", "request_id", "conversation_id", "instance", "item_id"}


def lasting(body: Any) -> Any:
    """Return what two answers to one question have in common."""
    if isinstance(body, dict):
        return {name: lasting(value) for name, value in body.items() if name not in CHANGING}
    return [lasting(each) for each in body] if isinstance(body, list) else body


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bodies of completions that were validated in the short way."""
    seen: list[bytes] = []
    validate = CompletionRequest.model_validate_json

    def validating(body: bytes, **options: Any) -> CompletionRequest:
        seen.append(body)
        return validate(body, **options)

    monkeypatch.setattr(CompletionRequest, "model_validate_json", validating)
    return seen


async def both(door: Door, path: str, body: Any) -> tuple[httpx.Response, httpx.Response]:
    """Ask in the short way and in the framework's."""
    short = await door.client.post(path, json=body)
    long = await door.client.post(path, content=short.request.content, headers=LONG_WAY)
    return short, long


def assert_alike(short: httpx.Response, long: httpx.Response) -> None:
    assert short.status_code == long.status_code
    assert short.headers["content-type"] == long.headers["content-type"]
    assert set(short.headers) == set(long.headers)
    assert lasting(short.json()) == lasting(long.json())


@pytest.mark.parametrize("path", BODIES)
async def test_an_answer_is_the_same_in_both_ways(door: Door, path: str) -> None:
    door.log.answer = telling("Weekly [1].", model="tiny", served_by="openai", finish_reason="stop")
    short, long = await both(door, path, BODIES[path])
    assert short.status_code == 200, short.text
    assert_alike(short, long)
    assert [(request.workspace, request.messages) for request in door.log.bodies[:1]] == [
        (request.workspace, request.messages) for request in door.log.bodies[1:]
    ]


async def test_the_two_ways_are_two(door: Door, validated: list[bytes]) -> None:
    door.log.answer = telling("Weekly.")
    short, _ = await both(door, COMPLETIONS_PATH, QUESTION)
    assert validated == [short.request.content]


@pytest.mark.parametrize("path", BODIES)
async def test_a_stream_is_the_same_in_both_ways(door: Door, path: str) -> None:
    door.log.answer = telling("Weekly", " [1].")
    short, long = await both(door, path, {**BODIES[path], "stream": True})
    assert short.status_code == 200, short.text
    assert short.headers["content-type"] == long.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert short.text.count("data: ") == long.text.count("data: ") > 2


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("code", ["unknown_model", "deadline_passed", "backend_unavailable", "anything else"])
async def test_an_answer_that_failed_is_the_same_in_both_ways(door: Door, path: str, code: str) -> None:
    door.log.answer = lambda request: [failure(request, code)]
    short, long = await both(door, path, BODIES[path])
    assert short.status_code >= 400
    assert_alike(short, long)


@pytest.mark.parametrize("path", BODIES)
async def test_a_broker_that_is_away_is_the_same_in_both_ways(door: Door, path: str) -> None:
    door.log.down = True
    short, long = await both(door, path, BODIES[path])
    assert (short.status_code, short.headers["retry-after"]) == (503, long.headers["retry-after"])
    assert_alike(short, long)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"messages": []},
        {"messages": [{"role": "nobody", "content": "?"}]},
        {"messages": [{"role": "user", "content": " "}]},
        {"messages": [{"role": "user", "content": "?"}], "temperature": -1},
        {"messages": [{"role": "user", "content": "?"}], "millrace": {"retreive": False}},
    ],
)
async def test_what_does_not_fit_is_worded_by_the_framework(door: Door, body: Any) -> None:
    short, long = await both(door, COMPLETIONS_PATH, body)
    assert short.status_code == 400
    assert short.json() == long.json()
    assert not door.log.published


async def test_a_body_that_is_no_json_is_refused(door: Door) -> None:
    for content in (b"", b"{", b"\xff\xfe", b'{"messages": "\\ud800"}'):
        response = await door.client.post("/v1/chat", content=content, headers={"content-type": "application/json"})
        assert response.status_code == 422 if content == b"" else 400, response.text
    assert not door.log.published


async def test_a_lone_surrogate_is_read_as_the_framework_reads_it(door: Door) -> None:
    content = b'{"messages": [{"role": "user", "content": "\\ud800?"}]}'
    headers = {"content-type": "application/json"}
    short = await door.client.post(COMPLETIONS_PATH, content=content, headers=headers)
    long = await door.client.post(COMPLETIONS_PATH, content=content, headers=LONG_WAY)
    assert short.status_code == long.status_code
    assert lasting(short.json()) == lasting(long.json())


async def test_a_body_over_the_limit_is_refused(door: Door) -> None:
    response = await door.client.post("/v1/chat", json={"message": "x" * 4096})
    assert_problem(response, 413, "payload_too_large")


async def test_a_key_of_ones_own_goes_through_the_framework(door: Door, validated: list[bytes]) -> None:
    door.log.answer = telling("Weekly.")
    first = await door.client.post(COMPLETIONS_PATH, json=QUESTION, headers={"idempotency-key": "k-1"})
    assert first.status_code == 200
    assert not validated
    again = await door.client.post(COMPLETIONS_PATH, json=QUESTION, headers={"idempotency-key": "k-1"})
    assert again.json() == first.json()
    bad = await door.client.post(COMPLETIONS_PATH, json=QUESTION, headers={"idempotency-key": "with a blank"})
    assert bad.status_code == 400


async def test_only_who_has_a_key_is_heard(door: Door, validated: list[bytes]) -> None:
    response = await door.client.post("/v1/chat", json=BODIES["/v1/chat"], headers={"authorization": "Bearer mr_no"})
    assert_problem(response, 401, "invalid_key")
    assert not validated


async def test_other_methods_and_paths_are_the_frameworks(door: Door) -> None:
    assert_problem(await door.client.get("/v1/chat"), 405, "method_not_allowed")
    assert_problem(await door.client.post("/v1/chats", json=BODIES["/v1/chat"]), 404, "not_found")


async def test_it_is_counted_by_its_route(door: Door) -> None:
    door.log.answer = telling("Weekly.")
    assert (await door.client.post("/v1/chat", json=BODIES["/v1/chat"])).status_code == 200
    line = 'millrace_http_requests_total{method="POST",route="/v1/chat",status="200"}'
    assert line in generate_latest(REGISTRY).decode()
