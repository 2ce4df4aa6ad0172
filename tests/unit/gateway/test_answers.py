"""Coming back to an answer: at any gateway, from any place, and only to one's own."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from infra.postgres.answers import Finished
from schemas.chat import ChatReply, ChatRequest
from schemas.event import now
from tests.eventually import eventually
from tests.unit.gateway.conftest import OTHER_KEY, Door, assert_problem
from tests.unit.gateway.serving import asked, caller, cancels, events, failure, reply, serving, telling

TURN = {"message": "is it?", "stream": True}
THEIRS = {"authorization": f"Bearer {OTHER_KEY}"}


async def begun(door: Door, *texts: str) -> ChatRequest:
    """Ask, and leave in the middle of the answer."""
    door.log.answer = lambda request: [reply(request, "delta", text, number) for number, text in enumerate(texts)]
    door.connections.settings = door.connections.settings.model_copy(update={"return_grace_s": 60})
    async with (
        serving(door.app) as url,
        caller(url) as client,
        client.stream("POST", "/v1/chat", json=TURN) as response,
    ):
        await anext(events(response))
    return await asked(door)


@pytest.mark.parametrize("at", range(6))
async def test_the_rest_of_a_stream_is_told_from_any_place(door: Door, at: int) -> None:
    request = await begun(door, "Ye", "s, i")
    async with (
        serving(door.app) as url,
        caller(url) as client,
        client.stream("GET", f"/v1/chat/{request.request_id}/events", headers={"last-event-id": str(at)}) as response,
    ):
        reading = events(response)
        accepted = await anext(reading)
        assert (accepted.name, accepted.id, accepted.data["request_id"]) == (
            "accepted",
            str(at),
            str(request.request_id),
        )
        first = await anext(reading)
        assert (first.name, first.data["text"], first.id) == ("delta", "Yes, i"[at:], "6")
        door.log.say(reply(request, "delta", "t is", 2), reply(request, "final", "Yes, it is.", 3))
        rest = [event async for event in reading]
    assert "".join(event.data["text"] for event in rest[:-1]) == "t is."
    assert (rest[-1].name, rest[-1].data["answer"]) == ("final", "Yes, it is.")
    assert len([body for body in door.log.bodies if isinstance(body, ChatRequest)]) == 1


async def test_coming_back_counts_and_leaving_for_good_cancels(door: Door) -> None:
    request = await begun(door, "Ye")
    door.connections.settings = door.connections.settings.model_copy(update={"return_grace_s": 0.2})
    path = f"/v1/chat/{request.request_id}/events"
    async with serving(door.app) as url, caller(url) as client:
        async with client.stream("GET", path) as first, client.stream("GET", path) as second:
            reading = [events(first), events(second)]
            assert [(await anext(each)).name for each in reading] == ["accepted", "accepted"]
            await first.aclose()
            await eventually(lambda: len(door.log.waiting[request.request_id]) == 1)
            await eventually(lambda: door.connections.errands.count == 1)  # the first asker's, which waits long
            assert cancels(door) == []
        await eventually(lambda: cancels(door))
    assert cancels(door)[0].reason == "disconnected"


async def test_the_end_has_no_rest(door: Door) -> None:
    request = await begun(door, "Ye")
    response = await door.client.get(f"/v1/chat/{request.request_id}/events", headers={"last-event-id": "end"})
    assert (response.status_code, response.content) == (204, b"")


@pytest.mark.parametrize("given", ["-1", "1.5", "x", "１", "9" * 10])
async def test_an_id_that_is_none_of_ours_is_refused(door: Door, given: str) -> None:
    request = await begun(door, "Ye")
    path = f"/v1/chat/{request.request_id}/events"
    response = await door.client.get(path, headers={b"last-event-id": given.encode()})
    assert_problem(response, 400, "invalid_header")


async def test_the_state_of_an_answer(door: Door) -> None:
    request = await begun(door, "Ye")
    path = f"/v1/chat/{request.request_id}"
    response = await door.client.get(path)
    assert response.status_code == 202
    assert (response.json()["state"], response.json()["so_far"]) == ("running", "Ye")
    door.log.say(reply(request, "final", "Yes.", 1, served_by="extractive"))
    response = await door.client.get(path)
    assert response.status_code == 200
    assert (response.json()["state"], response.json()["answer"]["answer"]) == ("finished", "Yes.")


async def test_the_state_of_an_answer_that_failed(door: Door) -> None:
    request = await begun(door, "Ye")
    door.log.say(failure(request, "cancelled"))
    response = await door.client.get(f"/v1/chat/{request.request_id}")
    assert (response.status_code, response.json()["state"]) == (200, "failed")
    assert response.json()["error"] == {"code": "cancelled", "detail": "in words"}


def issued(door: Door, **ago: Any) -> UUID:
    return door.connections.request_ids.issue("acme", 3, now() - timedelta(**ago))


def archived(request_id: UUID, text: str) -> Finished:
    values = {"workspace": "acme", "request_id": request_id, "conversation_id": uuid4(), "gateway": "", "sequence": 0}
    return Finished("is it?", ChatReply.model_validate({**values, "kind": "final", "text": text}), now())


async def test_what_the_log_no_longer_holds_comes_from_the_archive(door: Door) -> None:
    request_id = issued(door, days=3)
    path = f"/v1/chat/{request_id}"
    for each in (path, f"{path}/events"):
        assert_problem(await door.client.get(each), 404, "request_not_found")
    door.archive["acme", request_id] = archived(request_id, "Yes.")
    assert (await door.client.get(path)).json()["answer"]["answer"] == "Yes."
    async with serving(door.app) as url, caller(url) as client:
        response = await client.get(f"{path}/events", headers={"last-event-id": "2"})
        found = [event async for event in events(response)]
    assert [event.data.get("text") for event in found] == [None, "s.", None]


async def test_an_answer_of_this_morning_is_still_on_the_log(door: Door) -> None:
    request_id = issued(door, hours=3)
    door.log.say(archived(request_id, "Yes.").reply)
    assert (await door.client.get(f"/v1/chat/{request_id}")).json()["answer"]["answer"] == "Yes."
    async with serving(door.app) as url, caller(url) as client:
        found = [event async for event in events(await client.get(f"/v1/chat/{request_id}/events"))]
    assert [event.name for event in found] == ["accepted", "delta", "final"]


async def test_a_question_that_nobody_answered_in_time_has_failed(door: Door) -> None:
    request_id = issued(door, hours=1)
    assert (await door.client.get(f"/v1/chat/{request_id}")).json()["error"]["code"] == "deadline_passed"
    async with serving(door.app) as url, caller(url) as client:
        response = await client.get(f"/v1/chat/{request_id}/events")
        found = [event async for event in events(response)]
    assert [event.name for event in found] == ["accepted", "error"]
    assert found[-1].data["code"] == "deadline_passed"


async def test_stopping_tells_the_workers(door: Door) -> None:
    request = await begun(door, "Ye")
    response = await door.client.delete(f"/v1/chat/{request.request_id}")
    assert (response.status_code, response.json()["state"]) == (202, "cancelling")
    (told,) = cancels(door)
    assert (told.workspace, told.request_id, told.reason) == ("acme", request.request_id, "deleted")
    door.log.down = True
    assert_problem(await door.client.delete(f"/v1/chat/{request.request_id}"), 503, "broker_unavailable")


async def test_somebody_elses_answer_is_as_if_it_did_not_exist(door: Door) -> None:
    request = await begun(door, "Ye")
    door.log.say(reply(request, "final", "Yes.", 1))
    for path in (f"/v1/chat/{request.request_id}", f"/v1/chat/{uuid4()}"):
        headers = THEIRS if str(request.request_id) in path else {}
        assert_problem(await door.client.get(path, headers=headers), 404, "request_not_found")
        assert_problem(await door.client.get(f"{path}/events", headers=headers), 404, "request_not_found")
        assert_problem(await door.client.delete(path, headers=headers), 404, "request_not_found")
    assert cancels(door) == []


async def test_a_finished_answer_is_told_whole(door: Door) -> None:
    door.log.answer = telling("Yes", ".")
    answer = (await door.client.post("/v1/chat", json={"message": "is it?"})).json()
    async with serving(door.app) as url, caller(url) as client:
        response = await client.get(f"/v1/chat/{answer['request_id']}/events")
        found = [event async for event in events(response)]
    assert [event.name for event in found] == ["accepted", "delta", "final"]
    assert found[-1].data == answer


async def test_what_is_no_id_is_no_path_here(door: Door) -> None:
    assert_problem(await door.client.get("/v1/chat/nothing"), 404, "not_found")
    response = await door.client.get("/v1/chat/completions")
    assert (response.status_code, response.json()["error"]["code"]) == (405, "method_not_allowed")
