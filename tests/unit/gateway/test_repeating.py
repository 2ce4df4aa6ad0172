"""One key, one question, one answer; and what is left of that when the memory is away."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from infra.postgres.answers import Finished
from schemas.chat import ChatReply, ChatRequest
from schemas.event import now
from tests.eventually import eventually
from tests.unit.gateway.conftest import OTHER_KEY, Door, assert_problem
from tests.unit.gateway.serving import asked, caller, cancels, events, reply, serving, telling

KEYED = {"idempotency-key": "order-4711"}
TURN = {"message": "is it?"}
COMPLETION: dict[str, Any] = {"model": "millrace", "messages": [{"role": "user", "content": "is it?"}]}


def questions(door: Door) -> list[ChatRequest]:
    return [body for body in door.log.bodies if isinstance(body, ChatRequest)]


@pytest.mark.parametrize(("path", "body"), [("/v1/chat", TURN), ("/v1/chat/completions", COMPLETION)])
async def test_a_repetition_gets_the_same_answer_and_asks_nothing(door: Door, path: str, body: dict[str, Any]) -> None:
    door.log.answer = telling("Yes", ".", served_by="extractive")
    first = await door.client.post(path, json=body, headers=KEYED)
    again = await door.client.post(path, json=body, headers=KEYED)
    assert first.status_code == again.status_code == 200, first.text
    assert again.json() == first.json()
    assert len(questions(door)) == 1
    assert questions(door)[0].idempotency_key == "order-4711"


async def test_one_answer_is_told_whole_or_as_a_stream(door: Door) -> None:
    door.log.answer = telling("Yes", ".")
    first = (await door.client.post("/v1/chat", json=TURN, headers=KEYED)).json()
    async with serving(door.app) as url, caller(url) as client:
        streamed = await client.post("/v1/chat", json=TURN | {"stream": True}, headers=KEYED)
        found = [event async for event in events(streamed)]
    assert found[-1].data == first
    assert len(questions(door)) == 1


async def test_many_at_once_ask_once(door: Door) -> None:
    asking = [asyncio.create_task(door.client.post("/v1/chat", json=TURN, headers=KEYED)) for _ in range(8)]
    request = await asked(door)
    await eventually(lambda: len(door.log.waiting.get(request.request_id, [])) == 8)
    door.log.say(*telling("Yes.")(request))
    answers = [response.json() for response in await asyncio.gather(*asking)]
    assert all(answer == answers[0] for answer in answers)
    assert len(questions(door)) == 1


async def test_another_request_under_the_key_is_refused(door: Door) -> None:
    door.log.answer = telling("Yes.")
    await door.client.post("/v1/chat", json=TURN, headers=KEYED)
    other = await door.client.post("/v1/chat", json={"message": "is it not?"}, headers=KEYED)
    assert_problem(other, 422, "key_reused")
    elsewhere = await door.client.post("/v1/chat/completions", json=COMPLETION, headers=KEYED)
    assert (elsewhere.status_code, elsewhere.json()["error"]["code"]) == (422, "key_reused")
    assert len(questions(door)) == 1
    assert door.log.waiting == {}


async def test_a_key_is_its_workspaces_own(door: Door) -> None:
    door.log.answer = telling("Yes.")
    mine = (await door.client.post("/v1/chat", json=TURN, headers=KEYED)).json()
    headers = KEYED | {"authorization": f"Bearer {OTHER_KEY}"}
    theirs = (await door.client.post("/v1/chat", json=TURN, headers=headers)).json()
    assert mine["request_id"] != theirs["request_id"]
    assert mine["conversation_id"] != theirs["conversation_id"]
    assert len(questions(door)) == 2


async def test_what_the_broker_did_not_take_is_asked_again(door: Door) -> None:
    door.log.answer = telling("Yes.")
    door.log.down = True
    assert_problem(await door.client.post("/v1/chat", json=TURN, headers=KEYED), 503, "broker_unavailable")
    door.log.down = False
    assert (await door.client.post("/v1/chat", json=TURN, headers=KEYED)).json()["answer"] == "Yes."


def claimed(door: Door) -> None:
    """Leave the claim of a gateway that died before it could say that the broker had the request."""
    ((key, kept),) = door.memory.kept.items()
    door.memory.kept[key] = replace(kept, published=False)


async def test_a_claim_whose_gateway_died_is_taken_over(door: Door) -> None:
    door.log.answer = telling("Yes.")
    door.connections.settings = door.connections.settings.model_copy(update={"publish_timeout_s": 0.2})
    first = (await door.client.post("/v1/chat", json=TURN, headers=KEYED)).json()
    claimed(door)
    again = (await door.client.post("/v1/chat", json=TURN, headers=KEYED)).json()
    assert again["request_id"] == first["request_id"]
    assert len(questions(door)) == 2
    assert [kept.published for kept in door.memory.kept.values()] == [True]


async def test_without_the_memory_every_request_is_asked_and_answered(door: Door) -> None:
    door.log.answer = telling("Yes.")
    door.memory.down = True
    answers = [(await door.client.post("/v1/chat", json=TURN, headers=KEYED)).json() for _ in range(2)]
    assert [answer["answer"] for answer in answers] == ["Yes.", "Yes."]
    assert answers[0]["request_id"] == answers[1]["request_id"]
    assert len(questions(door)) == 2


async def test_what_the_memory_lost_the_archive_still_has(door: Door) -> None:
    door.log.answer = telling("Yes.")
    first = (await door.client.post("/v1/chat", json=TURN, headers=KEYED)).json()
    request = questions(door)[0]
    door.memory.kept.clear()
    final: ChatReply = door.log.kept[-1]
    door.archive["acme", request.request_id] = Finished("is it?", final, now())
    for down in (False, True):
        door.memory.down = down
        assert (await door.client.post("/v1/chat", json=TURN, headers=KEYED)).json() == first
    door.memory.down = False
    other = await door.client.post("/v1/chat", json={"message": "is it not?"}, headers=KEYED)
    assert_problem(other, 422, "key_reused")
    assert len(questions(door)) == 1
    assert door.memory.kept == {}


async def test_an_archived_answer_to_what_a_tool_returned_is_repeated(door: Door) -> None:
    door.log.answer = telling("Seven.")
    call = {"id": "a", "type": "function", "function": {"name": "days_left", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "How many days?"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "7"},
    ]
    body = {"model": "millrace", "messages": messages}
    first = (await door.client.post("/v1/chat/completions", json=body, headers=KEYED)).json()
    door.memory.kept.clear()
    door.archive["acme", questions(door)[0].request_id] = Finished("How many days?", door.log.kept[-1], now())
    again = (await door.client.post("/v1/chat/completions", json=body, headers=KEYED)).json()
    assert (again["id"], again["choices"]) == (first["id"], first["choices"])
    assert len(questions(door)) == 1


async def test_its_id_leads_back_to_it_while_it_is_remembered(door: Door) -> None:
    door.log.answer = telling("Yes.")
    first = (await door.client.post("/v1/chat", json=TURN, headers=KEYED)).json()
    path = f"/v1/chat/{first['request_id']}"
    assert (await door.client.get(path)).json()["answer"] == first
    door.memory.down = True
    assert_problem(await door.client.get(path), 503, "dependency_unavailable")
    door.memory.down = False
    door.memory.kept.clear()
    assert_problem(await door.client.get(path), 404, "request_not_found")


async def test_who_hangs_up_and_repeats_finds_the_answer_going_on(door: Door) -> None:
    door.connections.settings = door.connections.settings.model_copy(update={"return_grace_s": 30})
    async with serving(door.app) as url, caller(url) as client:
        leaving = asyncio.create_task(client.post("/v1/chat/completions", json=COMPLETION, headers=KEYED))
        request = await asked(door)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await eventually(lambda: door.connections.errands.count)
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=COMPLETION, headers=KEYED))
        await eventually(lambda: request.request_id in door.log.waiting and not door.connections.errands.count)
        assert cancels(door) == []
        door.log.say(reply(request, "final", "Yes."))
        assert (await asking).json()["choices"][0]["message"]["content"] == "Yes."


@pytest.mark.parametrize("key", ["", "x" * 201, "zwei Wörter"])
async def test_what_is_no_key(door: Door, key: str) -> None:
    headers = {b"idempotency-key": key.encode()}
    response = await door.client.post("/v1/chat", json=TURN, headers=headers)  # type: ignore[arg-type]
    assert_problem(response, 422, "invalid_request")
