"""Senders against a scripted door: what is retried, what is given up, and that a chain keeps its order."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx
import pytest
from standardwebhooks import Webhook

from bench.kill import senders
from bench.kill.model import World
from bench.kill.senders import Account, Senders, signed
from bench.kill.stream import Kind, Step, Trait, Way
from tests.eventually import lapse
from tests.unit.bench.worlds import SOURCES, hook, upload, world, writer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
Door = Callable[[httpx.Request], Awaitable[httpx.Response]]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(senders, "LONGEST_PAUSE_S", 0.002)
    monkeypatch.setattr(senders, "LOOK_EVERY_S", 0.001)


async def said(door: Door, *steps: Step, flooders: int = 0) -> Senders:
    made = world(*steps)
    accounts = {
        "mill-1": Account("mr_key", {name: (f"/v1/hooks/generic/{name}", SECRET) for name in ("feed-a", "feed-b")})
    }
    client = httpx.AsyncClient(transport=httpx.MockTransport(door), base_url="http://door")
    sending = Senders([client] * 4, accounts, made, [client] * flooders)
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


async def test_an_act_waits_for_all_of_the_earlier_ones_to_have_ended() -> None:
    says = writer()
    first, second = says.say("a"), says.say("b")
    says.act += 1
    last = says.say("a")
    steps = [replace(step, number=number) for number, step in enumerate((first, second, last))]
    made = world(*steps)
    ended: list[str] = []

    async def door(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            step = next(each for each in steps if each.delivery == request.headers["webhook-id"])
            # Accepted and on its way: the last act has to wait until it has come to its end.
            assert step.act == 0 or len(set(ended)) == 2
            return accepts(made, step)
        asked = request.url.path
        state = "complete" if asked in ended else "normalised"
        ended.append(asked)
        return httpx.Response(200, json={"state": state})

    sent = (await said(door, *steps)).sent
    assert (sent.accepted, sent.refused) == (3, [])


async def test_what_never_ends_is_told_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "CUE_WITHIN_S", 0.05)
    says = writer()
    first = says.say("a")
    says.act += 1
    steps = [replace(step, number=number) for number, step in enumerate((first, says.say("b"), says.say("c")))]

    async def door(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"state": "normalised"})
        return accepts(world(*steps), steps[0])

    sent = (await said(door, *steps)).sent
    assert sent.accepted == 1
    assert [told.partition(": ")[2] for told in sent.refused] == ["its cue never came"] * 2


async def test_a_user_deletes_what_they_have_seen() -> None:
    says = writer()
    shown = says.say("a", version=1)
    steps = [shown, replace(says.remove(shown), number=1)]
    texts = ["an older text", shown.text]

    async def door(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"text": texts.pop(0) if len(texts) > 1 else texts[0]})
        if request.method == "DELETE":
            assert texts == [shown.text]
        return accepts(world(*steps), steps[request.method == "DELETE"])

    sent = (await said(door, *steps)).sent
    assert (sent.accepted, sent.refused) == (2, [])


async def test_a_flood_is_said_beside_the_others() -> None:
    says, floods = writer(), writer("feed-b")
    flood = [floods.say(f"flood-{at}", trait=Trait.FLOOD) for at in range(20)]
    others = [says.say(f"other-{at}") for at in range(4)]
    steps = [replace(step, number=number) for number, step in enumerate([*flood, *others])]
    made = world(*steps)
    order: list[str] = []

    async def door(request: httpx.Request) -> httpx.Response:
        step = next(each for each in steps if each.delivery == request.headers["webhook-id"] and signs(each, request))
        order.append(step.external_id)
        await lapse(0.002)
        return accepts(made, step)

    sent = (await said(door, *steps, flooders=2)).sent
    assert sent.accepted == len(steps)
    # They stand behind the flood, and wait for none of it.
    assert {order.index(step.external_id) for step in others} <= set(range(8))


def signs(step: Step, request: httpx.Request) -> bool:
    return request.url.path.endswith(step.source)


def test_a_signature_is_that_of_the_published_library() -> None:
    body = b'{"id": "1"}'
    Webhook(SECRET).verify(body.decode(), signed("d0", body, SECRET))


def test_every_way_has_a_source() -> None:
    assert {step.way for step in (hook(0, 1), upload(0), upload(1, kind=Kind.DELETE))} == set(Way)
    assert SOURCES
