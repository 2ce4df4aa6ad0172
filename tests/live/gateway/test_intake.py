"""What goes in by hook and upload stands on the real log, byte for byte."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from infra.postgres.keys import create_key, revoke_key
from infra.postgres.sources import enable_source
from schemas.ids import document_id
from tests.eventually import eventually
from tests.live.gateway.conftest import Gateway, Tail
from tests.live.postgres import rows


def signed(body: bytes, secret: str, delivery: str, event: str = "issues") -> dict[str, str]:
    return {
        "x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
        "x-github-event": event,
        "x-github-delivery": delivery,
        "content-type": "application/json",
    }


async def register(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await client.post("/v1/sources", json={"name": "eng", "connector": "github"} | fields)
    assert response.status_code in {200, 201}, response.text
    body: dict[str, Any] = response.json()
    return body


async def test_every_real_payload_is_on_the_log_as_it_came(
    client: httpx.AsyncClient, log: Tail, workspace: str, sample_data: Path
) -> None:
    source = await register(client)
    payloads = sorted((sample_data / "github-webhooks").glob("*/*.json"))
    sent = {}
    for number, path in enumerate(payloads):
        body = path.read_bytes()
        response = await client.post(
            source["hook_path"], content=body, headers=signed(body, source["secret"], f"d-{number}", path.parent.name)
        )
        assert response.status_code == 202, response.text
        sent[response.json()["event_id"]] = body
    events = await log.events(workspace, len(payloads))
    assert {str(event.event_id): event.body for event in events} == sent
    keys = {(event.attributes["x-github-event"], event.source) for event in events}
    assert {name for name, _ in keys} == {path.parent.name for path in payloads}


async def test_a_rotation_and_a_switch_off_take_effect_within_seconds(
    client: httpx.AsyncClient, pool: asyncpg.Pool, workspace: str
) -> None:
    source = await register(client)
    path, old = source["hook_path"], source["secret"]
    new = "the-second-secret-of-this-source"

    async def status(secret: str) -> int:
        return (await client.post(path, content=b"{}", headers=signed(b"{}", secret, "d-1"))).status_code

    assert await status(old) == 202
    assert await status(new) == 401
    rotated = await register(client, secret=new)
    assert rotated["source_id"] == source["source_id"]
    # The gateway that wrote it forgets at once what it remembered.
    assert await status(new) == 202
    assert await status(old) == 202
    await register(client, secret="the-third-secret-of-this-source")
    assert await status(old) == 401
    await enable_source(pool, workspace, source["source_id"], False)

    async def refused() -> bool:
        return await status(new) == 404

    await eventually(refused, within=3)


async def test_a_revoked_key_is_refused_within_seconds(gateway: Gateway, pool: asyncpg.Pool, workspace: str) -> None:
    made = await create_key(pool, workspace, "test")
    async with gateway.client(made.key) as client:
        assert (await client.get("/v1/sources")).status_code == 200
        await revoke_key(pool, made.key_id)

        async def refused() -> bool:
            return (await client.get("/v1/sources")).status_code == 401

        await eventually(refused, within=3)


async def test_an_upload_is_on_the_log_and_large_ones_too(client: httpx.AsyncClient, log: Tail, workspace: str) -> None:
    large = bytes(range(256)) * 12_000  # 3 MB: over the topic's limit, so it stands in the object store
    for name, content in (("small.txt", b"small"), ("large.bin", large)):
        response = await client.post("/v1/documents", files={"file": (name, content)})
        assert response.status_code == 202, response.text
        answer = response.json()
        assert answer["document_id"] == str(document_id(workspace, answer["source"], name))
    events = {event.subject: event for event in await log.events(workspace, 2)}
    assert events["small.txt"].body == b"small"
    assert events["large.bin"].body == large
    sources = (await client.get("/v1/sources")).json()["sources"]
    assert [source["name"] for source in sources] == ["uploads"]


async def test_the_uploads_source_is_made_once(client: httpx.AsyncClient) -> None:
    import asyncio

    responses = await asyncio.gather(*(client.post("/v1/documents", json={"text": "a"}) for _ in range(6)))
    assert {response.status_code for response in responses} == {202}
    assert len({response.json()["source"] for response in responses}) == 1


async def test_a_taken_name_is_a_conflict(client: httpx.AsyncClient) -> None:
    await register(client, name="uploads")
    conflict = await client.post("/v1/documents", json={"text": "a"})
    assert (conflict.status_code, conflict.json()["code"]) == (409, "source_conflict")
    again = await client.post("/v1/sources", json={"name": "uploads", "connector": "files"})
    assert (again.status_code, again.json()["code"]) == (409, "source_conflict")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "", "connector": "github"}, "/name"),
        ({"name": "a", "connector": "fax"}, "/connector"),
        ({"name": "a", "connector": "github", "secret": "short"}, "/secret"),
        ({"name": "a", "connector": "generic", "secret": "not-base64-but-long-enough"}, "/secret"),
        ({"name": "a", "connector": "files", "secret": "x" * 32}, "/secret"),
        ({"name": "a", "connector": "feed"}, "/"),
        ({"name": "a", "connector": "feed", "config": {"url": "file:///etc/passwd"}}, "/"),
    ],
)
async def test_faulty_sources_are_refused(client: httpx.AsyncClient, body: dict[str, Any], pointer: str) -> None:
    response = await client.post("/v1/sources", json=body)
    assert response.status_code == 422, response.text
    assert response.json()["errors"][0]["pointer"] == pointer
    assert (await client.get("/v1/sources")).json() == {"sources": []}


async def test_a_deletion_is_an_event_after_the_version_that_the_user_saw(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, pool: asyncpg.Pool, log: Tail, workspace: str
) -> None:
    document = await rows.document(pool, workspace, "src_any", external_id="notes/9", version=41)
    refused = await stranger.delete(f"/v1/documents/{document}")
    assert (refused.status_code, refused.json()["code"]) == (404, "document_not_found")
    response = await client.delete(f"/v1/documents/{document}")
    assert response.status_code == 202
    assert response.json()["document_id"] == str(document)
    (event,) = await log.events(workspace)
    assert (event.operation, event.subject, event.after_version) == ("delete", "notes/9", 41)
    assert (event.source, str(event.event_id)) == ("src_any", response.json()["event_id"])


async def test_a_repeated_delivery_has_one_id_and_json_need_not_be_json(
    client: httpx.AsyncClient, log: Tail, workspace: str
) -> None:
    source = await register(client)
    body = b'{"broken": '
    answers = [
        await client.post(source["hook_path"], content=body, headers=signed(body, source["secret"], "same"))
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    events = await log.events(workspace, 2)
    assert len({event.event_id for event in events}) == 1
    assert json.loads(answers[0].text) == json.loads(answers[1].text)
