"""Requests as Open WebUI makes them of a connection to an OpenAI-compatible server.

Read off its backend (routers/openai.py): the list of models, streams with usage, and the tasks it asks for by itself
(titles, tags, follow-ups), which are whole answers in JSON.
"""

import json
from typing import Any

import httpx
import pytest

from tests.live.gateway.clients.conftest import MESSAGES, TOLD
from tests.live.gateway.conftest import Gateway

pytestmark = pytest.mark.timeout(600)

HEADERS = {
    "X-OpenWebUI-User-Name": "Ada Lovelace",
    "X-OpenWebUI-User-Id": "6d4f7a52",
    "X-OpenWebUI-User-Email": "ada@example.com",
    "X-OpenWebUI-User-Role": "user",
    "X-OpenWebUI-Chat-Id": "0f0c3f0a-7d2b-4b4e-8f6f-0d4f5a1d2c3b",
}
"""Sent where the forwarding of users is on."""


async def asked(stack: Gateway, key: str, body: dict[str, Any]) -> httpx.Response:
    async with stack.client(key) as client:
        return await client.post("/v1/chat/completions", json=body, headers=HEADERS, timeout=90)


async def test_the_models_are_listed_for_its_menu(stack: Gateway, key: str, answering: str) -> None:
    async with stack.client(key) as client:
        listed = (await client.get("/v1/models", headers=HEADERS)).json()
    assert listed["object"] == "list"
    assert "millrace" in [model["id"] for model in listed["data"]]
    assert all(model["object"] == "model" for model in listed["data"])


async def test_a_chat_is_streamed_with_its_usage(stack: Gateway, key: str, answering: str) -> None:
    body = {
        "stream": True,
        "model": "millrace",
        "messages": [{"role": "system", "content": "You are helpful."}, *MESSAGES],
        "stream_options": {"include_usage": True},
        "temperature": 0.8,
        "top_p": 0.9,
        "max_tokens": 128,
        "frequency_penalty": 0,
        "logit_bias": None,
        "user": {"name": "Ada Lovelace", "id": "6d4f7a52", "email": "ada@example.com", "role": "user"},
    }
    response = await asked(stack, key, body)
    assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert text == TOLD
    assert chunks[-1]["usage"]["completion_tokens"] == len(TOLD.split())


async def test_a_task_of_its_own_is_answered_whole(stack: Gateway, key: str, answering: str) -> None:
    task = '### Task:\nGenerate a concise title.\n### Output:\nJSON format: { "title": "…" }\n### Chat History:\nhi'
    body = {
        "model": "millrace",
        "messages": [{"role": "user", "content": task}],
        "stream": False,
        "max_completion_tokens": 1000,
    }
    response = await asked(stack, key, body)
    assert response.status_code == 200, response.text
    assert response.json()["choices"][0]["message"]["content"]


async def test_a_refusal_has_the_shape_that_it_shows(stack: Gateway, key: str, answering: str) -> None:
    response = await asked(stack, key, {"stream": True, "model": "gpt-9", "messages": MESSAGES})
    assert response.status_code == 404
    assert response.json()["error"]["message"]
