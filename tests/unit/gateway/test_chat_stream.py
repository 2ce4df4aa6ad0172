"""Our own stream: what each event says, and what a hang-up means where the client can come back."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.streaming import Stream
from infra.telemetry.metrics import REGISTRY
from tests.eventually import eventually
from tests.unit.gateway.conftest import Door
from tests.unit.gateway.serving import asked, caller, cancels, events, failure, reply, serving, telling

TURN = {"message": "is it?", "stream": True}


async def test_the_events_of_an_answer(door: Door) -> None:
    async with (
        serving(door.app) as url,
        caller(url) as client,
        client.stream("POST", "/v1/chat", json=TURN) as response,
    ):
        assert response.headers["content-type"].startswith("text/event-stream")
        assert (response.headers["cache-control"], response.headers["x-accel-buffering"]) == ("no-cache", "no")
        reading = events(response)
        accepted = await anext(reading)
        request = await asked(door)
        assert request.stream
        assert (accepted.name, accepted.id) == ("accepted", "0")
        assert accepted.data == {
            "request_id": str(request.request_id),
            "conversation_id": str(request.conversation_id),
        }
        assert REGISTRY.get_sample_value("millrace_streams_open") == 1
        door.log.say(reply(request, "delta", "Grüß", 0))
        assert (await anext(reading)).__dict__ == {"name": "delta", "data": {"text": "Grüß"}, "id": "4"}
        door.log.say(reply(request, "delta", " dich 👋", 1))
        assert (await anext(reading)).__dict__ == {"name": "delta", "data": {"text": " dich 👋"}, "id": "11"}
        door.log.say(reply(request, "final", "Grüß dich 👋!", 2))
        rest = [event async for event in reading]
    assert [(event.name, event.id) for event in rest] == [("delta", "12"), ("final", "end")]
    assert rest[-1].data["answer"] == "Grüß dich 👋!"
    assert REGISTRY.get_sample_value("millrace_streams_open") == 0
    assert rest[-1].data["conversation_id"] == str(request.conversation_id)


async def test_an_error_is_the_problem_that_the_response_would_have_been(door: Door) -> None:
    door.log.answer = lambda request: [failure(request, "backend_unavailable")]
    async with serving(door.app) as url, caller(url) as client:
        response = await client.post("/v1/chat", json=TURN)
        found = [event async for event in events(response)]
    assert [event.name for event in found] == ["accepted", "error"]
    assert found[1].data["code"] == "dependency_unavailable"
    assert found[1].data["instance"] == f"urn:uuid:{response.headers['x-request-id']}"


async def test_without_the_broker_there_is_no_stream(door: Door) -> None:
    door.log.down = True
    async with serving(door.app) as url, caller(url) as client:
        response = await client.post("/v1/chat", json=TURN)
    assert response.status_code == 503
    assert response.json()["code"] == "broker_unavailable"


@pytest.mark.parametrize("comes_back", [False, True])
async def test_a_hang_up_cancels_if_nobody_comes_back(door: Door, comes_back: bool) -> None:
    door.connections.settings = door.connections.settings.model_copy(update={"return_grace_s": 0.3})
    async with serving(door.app) as url:
        async with caller(url) as client, client.stream("POST", "/v1/chat", json=TURN) as response:
            await anext(events(response))
        request = await asked(door)
        await eventually(lambda: not door.log.waiting)
        assert cancels(door) == []
        if comes_back:
            await door.memory.visit("acme", request.request_id)
        await eventually(lambda: not door.connections.errands.count)
    assert len(cancels(door)) == (0 if comes_back else 1)


async def test_where_nobody_can_say_who_came_back_nothing_is_cancelled(door: Door) -> None:
    door.connections.settings = door.connections.settings.model_copy(update={"return_grace_s": 0})
    door.memory.down = True
    async with serving(door.app) as url:
        async with caller(url) as client, client.stream("POST", "/v1/chat", json=TURN) as response:
            await anext(events(response))
        await eventually(lambda: not door.log.waiting and not door.connections.errands.count)
    assert cancels(door) == []


async def test_a_gateway_that_stops_cancels_nothing(door: Door) -> None:
    door.connections.settings = door.connections.settings.model_copy(update={"return_grace_s": 0})
    over: list[bool] = []

    async def silence() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async def receive() -> dict[str, str]:
        await asyncio.Event().wait()
        return {}

    async def send(message: object) -> None:
        started.set()

    started = asyncio.Event()
    stream = Stream(silence(), over.append)
    serving = asyncio.create_task(stream({"type": "http"}, receive, send))
    await started.wait()
    serving.cancel()  # as uvicorn does with what runs beyond its patience
    await asyncio.gather(serving, return_exceptions=True)
    assert over == [False]


async def test_the_whole_answer_is_still_there_without_a_stream(door: Door) -> None:
    door.log.answer = telling("Yes", ".")
    response = await door.client.post("/v1/chat", json={"message": "is it?"})
    assert response.json()["answer"] == "Yes."
    assert not (await asked(door)).stream
