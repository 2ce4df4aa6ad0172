"""Senders against a scripted door: what is retried, what is given up, and that a chain keeps its order."""

from collections.abc import Awaitable, Callable

import httpx
import pytest
from standardwebhooks import Webhook

from bench.kill import senders
from bench.kill.model import World
from bench.kill.senders import Account, Senders, signed
from bench.kill.stream import Kind, Step, Way
from tests.eventually import lapse
from tests.unit.bench.worlds import SOURCES, hook, upload, world

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
Door = Callable[[httpx.Request], Awaitable[httpx.Response]]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(senders, "LONGEST_PAUSE_S", 0.002)


async def said(door: Door, *steps: Step) -> Senders:
    made = world(*steps)
    accounts = {
        "mill-1": Account("mr_key", {name: (f"/v1/hooks/generic/{name}", SECRET) for name in ("feed-a", "feed-b")})
    }
    client = httpx.AsyncClient(transport=httpx.MockTransport(door), base_url="http://door")
    sending = Senders([client] * 4, accounts, made)
    await sending.run(steps)
    return sending


def accepts(of: World, step: Step) -> httpx.Response:
    return httpx.Response(202, json={"event_id": str(of.event_id(step))})


async def test_the_same_delivery_goes_out_until_it_is_accepted() -> None:
    step = hook(0, 5)
    seen: list[str] = []

    async def door(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["webhook-id"])
        if len(seen) == 1:
            raise httpx.ConnectError("killed")
        return httpx.Response(503) if len(seen) == 2 else accepts(world(step), step)

    sent = (await said(door, step)).sent
    assert seen == ["d0", "d0", "d0"]
    assert (sent.accepted, sent.refused) == (1, [])
    assert sent.retries == {"ConnectError": 1, "503": 1}


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422])
async def test_a_refusal_is_final_and_told(status: int) -> None:
    async def door(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, text="no")

    sent = (await said(door, hook(0, 5))).sent
    assert sent.accepted == 0
    assert str(status) in sent.refused[0]


async def test_another_event_id_than_the_model_knows_is_a_refusal() -> None:
    async def door(request: httpx.Request) -> httpx.Response:
        return httpx.Response(202, json={"event_id": "6d2b7d0c-5c0e-5b43-9f2c-0f6c3f0a7c11"})

    assert "answered event" in (await said(door, hook(0, 5))).sent.refused[0]


async def test_uploads_of_one_document_follow_each_other() -> None:
    steps = [upload(number) for number in range(8)]
    under_way: list[str] = []
    order: list[str] = []

    async def door(request: httpx.Request) -> httpx.Response:
        delivery = request.headers["idempotency-key"]
        under_way.append(delivery)
        assert len(under_way) == 1
        await lapse(0.002)
        under_way.remove(delivery)
        order.append(delivery)
        return accepts(world(*steps), next(step for step in steps if step.delivery == delivery))

    await said(door, *steps)
    assert order == [step.delivery for step in steps]


async def test_a_deletion_waits_for_the_document_and_knows_an_answer_that_was_lost() -> None:
    steps = [upload(0), upload(1, kind=Kind.DELETE)]
    made = world(*steps)
    deletions: list[int] = []

    async def door(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return accepts(made, steps[0])
        if request.method == "GET":
            assert request.url.path == f"/v1/events/{made.event_id(steps[1])}"
            return httpx.Response(200 if len(deletions) > 2 else 404, json={"state": "accepted"})
        deletions.append(404 if len(deletions) != 1 else 0)
        if len(deletions) == 2:
            raise httpx.ReadError("accepted, but the answer is lost")
        return httpx.Response(404)

    sent = (await said(door, *steps)).sent
    assert (sent.accepted, sent.refused) == (2, [])
    assert len(deletions) == 3


def test_a_signature_is_that_of_the_published_library() -> None:
    body = b'{"id": "1"}'
    Webhook(SECRET).verify(body.decode(), signed("d0", body, SECRET))


def test_every_way_has_a_source() -> None:
    assert {step.way for step in (hook(0, 1), upload(0), upload(1, kind=Kind.DELETE))} == set(Way)
    assert SOURCES
