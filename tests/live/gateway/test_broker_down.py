"""A broker that goes away under a running gateway, and one that was never there."""

import hashlib
import hmac
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from infra.local.stack import Stack
from infra.postgres.keys import create_key
from tests.eventually import eventually
from tests.live.gateway.conftest import Environment, running

SECRET = "a-secret-of-this-test-alone"
BODY = b'{"zen": "Keep it logically awesome."}'


@pytest.fixture
async def own_broker() -> AsyncIterator[Stack]:
    """A broker that only this test uses, so that it may stop it."""
    folder = Path(tempfile.mkdtemp(prefix="millrace-broker-"))
    try:
        async with Stack.start(folder / "home", only={"kafka", "topics"}) as stack:
            yield stack
    finally:
        shutil.rmtree(folder)


async def hook(client: httpx.AsyncClient, path: str, delivery: str) -> httpx.Response:
    signature = "sha256=" + hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
    headers = {"x-hub-signature-256": signature, "x-github-event": "ping", "x-github-delivery": delivery}
    return await client.post(path, content=BODY, headers=headers)


def assert_sent_away(response: httpx.Response) -> None:
    assert response.status_code == 503, response.text
    assert response.json()["code"] == "broker_unavailable"
    assert int(response.headers["retry-after"]) >= 1


async def test_a_lost_broker_is_a_503_and_never_a_2xx(
    surroundings: Environment, own_broker: Stack, pool: asyncpg.Pool, workspace: str, tmp_path: Path
) -> None:
    key = (await create_key(pool, workspace, "test")).key
    bootstrap = own_broker.environment["KAFKA_BOOTSTRAP_SERVERS"]
    told = surroundings | {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "MILLRACE_PUBLISH_TIMEOUT_S": "2"}
    async with running(told, tmp_path) as gateway, gateway.client(key) as client:
        source = {"name": "eng", "connector": "github", "secret": SECRET}
        path = (await client.post("/v1/sources", json=source)).json()["hook_path"]
        assert (await hook(client, path, "d-1")).status_code == 202
        await own_broker.shut_down()
        for delivery in ("d-2", "d-3"):
            assert_sent_away(await hook(client, path, delivery))
        assert_sent_away(await client.post("/v1/documents", json={"text": "a"}))

        async def unready() -> bool:
            return (await client.get("/health/ready")).status_code == 503

        await eventually(unready)
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.get("/v1/sources")).status_code == 200
        assert await gateway.stop() == 0


async def test_a_gateway_starts_without_a_broker(
    surroundings: Environment, pool: asyncpg.Pool, workspace: str, tmp_path: Path
) -> None:
    key = (await create_key(pool, workspace, "test")).key
    told = surroundings | {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "MILLRACE_PUBLISH_TIMEOUT_S": "1"}
    async with running(told, tmp_path) as gateway, gateway.client(key) as client:
        assert_sent_away(await client.post("/v1/documents", json={"text": "a"}))
        assert_sent_away(await client.post("/v1/search", json={"query": "a"}))
