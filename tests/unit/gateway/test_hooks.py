"""What a signed webhook becomes, and what a bad one does not."""

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from schemas.ids import event_id
from schemas.raw import RawEvent
from tests.unit.gateway.conftest import GITHUB_SECRET, WEBHOOK_SECRET, Door, assert_problem, chunks
from topics.catalogue import RAW_EVENTS

BODY = json.dumps({"action": "opened", "issue": {"id": 7, "title": "Tïtle"}, "repository": {"id": 5}}).encode()


def github(body: bytes = BODY, secret: str = GITHUB_SECRET, delivery: str = "d-1") -> dict[str, str]:
    return {
        "x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
        "x-github-event": "issues",
        "x-github-delivery": delivery,
        "content-type": "application/json",
        "authorization": "Bearer must-not-reach-the-log",
    }


def standard(body: bytes = BODY, at: datetime | None = None, message: str = "msg_1") -> dict[str, str]:
    at = at or datetime.now(UTC)
    return {
        "webhook-id": message,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(WEBHOOK_SECRET).sign(message, at, body.decode()),
        "content-type": "application/cloudevents+json",
    }


async def post(door: Door, path: str, body: Any, headers: dict[str, str]) -> Any:
    return await door.client.post(f"/v1/hooks/{path}", content=body, headers=headers)


async def test_a_github_delivery_is_on_the_log_before_the_202(door: Door) -> None:
    response = await post(door, "github/src_github", BODY, github())
    assert response.status_code == 202
    ((topic, body, envelope),) = door.log.published
    assert topic is RAW_EVENTS
    assert isinstance(body, RawEvent)
    assert body.body == BODY
    assert (body.workspace, body.source, body.connector) == ("acme", "src_github", "github")
    assert (body.delivery, body.subject) == ("d-1", "5/issue/7")
    assert body.attributes == {"x-github-event": "issues"}
    assert body.event_id == envelope.id == event_id("acme", "src_github", "d-1")
    assert response.json() == {"event_id": str(body.event_id)}
    assert "must-not-reach-the-log" not in body.model_dump_json()


async def test_a_redelivery_is_the_same_event(door: Door) -> None:
    first = await post(door, "github/src_github", BODY, github())
    second = await post(door, "github/src_github", BODY, github())
    assert first.json() == second.json()


async def test_a_standard_webhook_is_taken(door: Door) -> None:
    response = await post(door, "generic/src_generic", BODY, standard())
    assert response.status_code == 202
    (body,) = door.log.bodies
    assert body.delivery == "msg_1"
    assert body.content_type == "application/cloudevents+json"


async def test_invalid_json_with_a_good_signature_is_accepted_as_it_came(door: Door) -> None:
    response = await post(door, "github/src_github", b"{not json", github(b"{not json"))
    assert response.status_code == 202
    assert door.log.bodies[0].body == b"{not json"


@pytest.mark.parametrize(
    ("path", "sign", "code"),
    [
        ("github/src_github", lambda: github(secret="another secret of theirs"), "invalid_signature"),
        ("github/src_github", lambda: github() | {"x-hub-signature-256": ""}, "missing_signature"),
        ("generic/src_generic", github, "missing_signature"),
        ("generic/src_generic", lambda: standard(at=datetime.now(UTC) - timedelta(minutes=6)), "stale_timestamp"),
        ("generic/src_generic", lambda: standard(at=datetime.now(UTC) + timedelta(minutes=6)), "stale_timestamp"),
        ("generic/src_generic", lambda: standard(b"other"), "invalid_signature"),
    ],
)
async def test_what_cannot_be_trusted_produces_nothing(
    door: Door, path: str, sign: Callable[[], dict[str, str]], code: str
) -> None:
    assert_problem(await post(door, path, BODY, sign()), 401, code)
    assert door.log.published == []


@pytest.mark.parametrize(
    "path",
    [
        "github/src_unknown",
        "github/src_generic",
        "generic/src_github",
        "github/src_off",
        "files/src_files",
        "nonsense/src_github",
    ],
)
async def test_an_unknown_mismatched_or_disabled_source_is_not_found(door: Door, path: str) -> None:
    assert_problem(await post(door, path, BODY, github()), 404, "source_not_found")
    assert door.log.published == []


async def test_a_rotated_secret_leaves_no_gap(door: Door) -> None:
    from dataclasses import replace

    old = door.sources["src_github"]
    door.sources["src_github"] = replace(old, secrets=("a-newer-secret-of-ours", GITHUB_SECRET))
    for secret in ("a-newer-secret-of-ours", GITHUB_SECRET):
        assert (await post(door, "github/src_github", BODY, github(secret=secret))).status_code == 202
    door.sources["src_github"] = replace(old, secrets=("a-newer-secret-of-ours",))
    assert_problem(await post(door, "github/src_github", BODY, github()), 401, "invalid_signature")


async def test_a_missing_delivery_id_is_said_so(door: Door) -> None:
    headers = github()
    del headers["x-github-delivery"]
    body = assert_problem(await post(door, "github/src_github", BODY, headers), 400, "invalid_header")
    assert "x-github-delivery" in body["detail"]


async def test_without_the_broker_the_sender_is_asked_to_come_back(door: Door) -> None:
    door.log.down = True
    response = await post(door, "github/src_github", BODY, github())
    assert_problem(response, 503, "broker_unavailable")
    assert int(response.headers["retry-after"]) >= 1


async def test_a_body_over_the_limit_is_refused_with_the_limit(door: Door) -> None:
    large = b"x" * 4097
    response = await post(door, "github/src_github", large, github(large))
    assert assert_problem(response, 413, "payload_too_large")["limit_bytes"] == 4096
    exact = b"x" * 4096
    assert (await post(door, "github/src_github", exact, github(exact))).status_code == 202


async def test_a_chunked_body_is_counted_as_it_comes(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.middleware.DROPPED_BYTES", 0)
    taken = 0

    async def endless() -> Any:
        nonlocal taken
        while True:
            taken += 1024
            yield b"x" * 1024

    response = await post(door, "github/src_github", endless(), github())
    assert assert_problem(response, 413, "payload_too_large")["limit_bytes"] == 4096
    assert taken <= 6 * 1024
    assert door.log.published == []


async def test_a_chunked_body_within_the_limit_is_taken_whole(door: Door) -> None:
    response = await post(door, "github/src_github", chunks(BODY[:10], BODY[10:]), github())
    assert response.status_code == 202
    assert door.log.bodies[0].body == BODY


async def test_a_body_that_does_not_arrive_is_given_up(door: Door) -> None:
    import asyncio

    async def stalled() -> Any:
        yield BODY[:10]
        await asyncio.Event().wait()

    assert_problem(await post(door, "github/src_github", stalled(), github()), 408, "request_timeout")


async def test_a_length_that_is_no_number_is_refused(door: Door) -> None:
    response = await post(door, "github/src_github", chunks(BODY), github() | {"content-length": "ten"})
    assert_problem(response, 400, "invalid_header")


async def test_a_large_body_is_verified_off_the_loop(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.routes.hooks.THREADED_BYTES", 1)
    assert (await post(door, "github/src_github", BODY, github())).status_code == 202
    assert_problem(await post(door, "github/src_github", BODY + b" ", github()), 401, "invalid_signature")


async def test_a_sender_that_hangs_up_is_nobody_to_answer(door: Door) -> None:
    sent: list[object] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        sent.append(message)

    headers = [(name.encode(), value.encode()) for name, value in github().items()]
    scope = {"type": "http", "method": "POST", "path": "/v1/hooks/github/src_github", "query_string": b""}
    await door.app(scope | {"headers": headers}, receive, send)
    assert sent == []
    assert door.log.published == []
