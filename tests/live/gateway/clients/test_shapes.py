"""What clients replay and send, over the whole stack: each of these OpenAI's API takes."""

from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.live.gateway.clients.conftest import KEYS, MESSAGES, QUESTION
from tests.live.gateway.clients.vendor import Vendor
from tests.live.gateway.conftest import Gateway

Body = dict[str, Any]

pytestmark = pytest.mark.timeout(600)

U: Body = MESSAGES[0]
GO_ON: Body = {"role": "user", "content": "Go on."}
LOOK: Body = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def result(content: Any) -> list[Body]:
    calling = {"role": "assistant", "content": None, "tool_calls": [LOOK]}
    return [calling, {"role": "tool", "tool_call_id": "c1", "content": content}]


SHAPES: dict[str, list[Body]] = {
    "a turn without a word": [U, {"role": "assistant", "content": None}, GO_ON],
    "an empty turn": [U, {"role": "assistant", "content": ""}, GO_ON],
    "an empty list of calls": [U, {"role": "assistant", "content": "A dam.", "tool_calls": []}, GO_ON],
    "a refusal": [U, {"role": "assistant", "content": None, "refusal": "I cannot."}, GO_ON],
    "content in parts": [
        U,
        {"role": "assistant", "content": [{"type": "text", "text": "A dam."}]},
        {"role": "user", "content": [{"type": "text", "text": "How"}, {"type": "text", "text": "high?"}]},
    ],
    "a last message of the assistant's": [U, {"role": "assistant", "content": "A weir is a"}],
    "only a system message": [{"role": "system", "content": "Say hello."}],
    "a system message at the end": [U, {"role": "system", "content": "Answer briefly."}],
    "developer and system": [{"role": "developer", "content": "Be brief."}, {"role": "system", "content": "Kind."}, U],
    "a name": [U | {"name": "maren_q"}],
    "two questions in a row": [U, GO_ON],
    "an empty question first": [{"role": "user", "content": ""}, U],
    "the old role": [
        U,
        {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}},
        {"role": "function", "name": "look", "content": "3 m"},
        GO_ON,
    ],
    "a call with its result": [U, *result("3 m"), GO_ON],
    "a result in parts": [U, *result([{"type": "text", "text": "3 m"}]), GO_ON],
}


@pytest.fixture
async def client(stack: Gateway, key: str, answering: str) -> Any:
    async with stack.client(key) as opened:
        yield opened


async def complete(client: httpx.AsyncClient, messages: list[Body], **more: Any) -> Body:
    body = {"model": "millrace", "messages": messages} | more
    response = await client.post("/v1/chat/completions", json=body, timeout=90)
    assert response.status_code == 200, response.text
    answer: Body = response.json()
    return answer


@pytest.mark.parametrize("retrieve", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_history_is_answered_from(
    client: httpx.AsyncClient, vendor: Vendor, shape: str, retrieve: bool
) -> None:
    """By a model too whose template insists on turns: it is never sent two messages in a row of one role."""
    answer = await complete(client, SHAPES[shape], millrace={"retrieve": retrieve})
    assert answer["choices"][0]["message"]["content"]
    sent = vendor.bodies[-1]["messages"]
    roles = [message["role"] for message in sent]
    assert roles[0] == "system"
    assert "system" not in roles[1:]
    assert all(one != other for one, other in pairwise(roles)), roles
    assert all(message["content"] or message.get("tool_calls") for message in sent)


async def test_the_model_goes_on_from_what_the_assistant_began(client: httpx.AsyncClient, vendor: Vendor) -> None:
    await complete(client, SHAPES["a last message of the assistant's"])
    *_, asked, begun = vendor.bodies[-1]["messages"]
    assert asked["content"].endswith(QUESTION)
    assert begun == {"role": "assistant", "content": "A weir is a"}


async def test_what_a_system_message_says_is_asked(client: httpx.AsyncClient, vendor: Vendor) -> None:
    await complete(client, SHAPES["only a system message"])
    policy, asked = vendor.bodies[-1]["messages"]
    assert asked["content"].endswith("Say hello.")
    assert "Say hello." not in policy["content"]


async def test_what_was_said_right_before_the_question_is_not_lost(client: httpx.AsyncClient, vendor: Vendor) -> None:
    await complete(client, SHAPES["two questions in a row"])
    last = vendor.bodies[-1]["messages"][-1]["content"]
    assert last.startswith(QUESTION)
    assert last.endswith("Go on.")


async def test_an_image_is_refused_in_words(client: httpx.AsyncClient) -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 3_000_000}}
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, part]}]}
    response = await client.post("/v1/chat/completions", json=body)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "unsupported_content")
    assert "images" in error["message"]


@pytest.mark.parametrize("turns", [50, 100, 150, 400, 1_000])
async def test_a_long_chat_is_answered(client: httpx.AsyncClient, vendor: Vendor, turns: int) -> None:
    """Its oldest turns are left out, its newest are not."""
    told = [
        message
        for turn in range(turns)
        for message in (
            {"role": "user", "content": f"Question {turn}?"},
            {"role": "assistant", "content": f"Answer {turn}."},
        )
    ]
    await complete(client, [*told, U])
    sent = vendor.bodies[-1]["messages"]
    assert sent[-2]["content"] == f"Answer {turns - 1}."
    assert len(sent) < 1_000


@pytest.mark.parametrize("word", ["pump ok\n", "Pumpe läuft\n", "泵正常运行中一切良好\n"])
@pytest.mark.parametrize("size", [90_000, 400_000])
async def test_a_long_result_is_cut_and_said_to_be(
    client: httpx.AsyncClient, vendor: Vendor, size: int, word: str
) -> None:
    told = word * (size // len(word))
    answer = await complete(client, [U, *result(f"first line\n{told}last line")])
    assert answer["millrace"]["shortened"] is True
    (sent,) = [message["content"] for message in vendor.bodies[-1]["messages"] if message["role"] == "tool"]
    assert sent.startswith("first line")
    assert sent.endswith("last line")
    assert "[…]" in sent
    short = await complete(client, [U, *result("3 m")])
    assert short["millrace"]["shortened"] is False


async def test_a_long_output_of_a_function_in_responses(client: httpx.AsyncClient) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "pump ok\n" * 50_000}
    response = await client.post("/v1/responses", json={"input": [U, call, output]}, timeout=90)
    assert response.status_code == 200, response.text
    assert response.json()["millrace"]["shortened"] is True


async def test_a_long_message_of_a_chat(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/chat", json={"message": "pump ok\n" * 50_000 + QUESTION}, timeout=90)
    assert response.status_code == 200, response.text
    assert response.json()["shortened"] is True


@pytest.mark.parametrize(("field", "required"), [("choice", "logprobs"), ("message", "refusal")])
async def test_required_fields_are_there(client: httpx.AsyncClient, field: str, required: str) -> None:
    choice = (await complete(client, MESSAGES))["choices"][0]
    assert (choice if field == "choice" else choice["message"])[required] is None


async def test_a_citation_has_an_address(client: httpx.AsyncClient) -> None:
    answer = await complete(client, MESSAGES)
    (annotation,) = answer["choices"][0]["message"]["annotations"]
    response = await client.get(annotation["url_citation"]["url"])
    assert response.status_code in (200, 404), "an address of this gateway, or the document's own"
    assert KEYS
