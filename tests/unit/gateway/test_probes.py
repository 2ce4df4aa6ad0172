"""Probes against small servers that answer as the real ones do, or as broken ones do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gateway import probes
from gateway.probes import Probe, ask_all
from infra.errors import Transient
from infra.settings import Neo4jSettings, QdrantSettings, RedisSettings
from tests.unit.gateway.conftest import Door


@asynccontextmanager
async def answering(answer: bytes, asked: list[bytes] | None = None) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.read(1024)
        if asked is not None:
            asked.append(request)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def state(ask: Callable[[], Awaitable[None]]) -> probes.State:
    return (await ask_all({"it": Probe(ask, needed=True)}))["it"]


async def test_bolt_is_negotiated() -> None:
    def ask(port: int) -> Callable[[], Awaitable[None]]:
        return lambda: probes._neo4j(Neo4jSettings(uri=f"bolt://127.0.0.1:{port}", password="p"))

    asked: list[bytes] = []
    async with answering(bytes.fromhex("00000405"), asked) as port:
        assert (await state(ask(port))).ok
    assert asked[0][:4] == bytes.fromhex("6060b017")
    assert len(asked[0]) == 20
    async with answering(bytes(4)) as port:
        assert not (await state(ask(port))).ok


async def test_redis_is_pinged_with_its_password() -> None:
    def ask(port: int) -> Callable[[], Awaitable[None]]:
        return lambda: probes._redis(RedisSettings(url=f"redis://:p%40ss@127.0.0.1:{port}/0"))

    asked: list[bytes] = []
    async with answering(b"+OK\r\n+PONG\r\n", asked) as port:
        assert (await state(ask(port))).ok
    assert asked == [b"*2\r\n$4\r\nAUTH\r\n$4\r\np@ss\r\n*1\r\n$4\r\nPING\r\n"]
    async with answering(b"-WRONGPASS invalid username-password pair\r\n") as port:
        refused = await state(ask(port))
    assert not refused.ok
    assert "p@ss" not in refused.detail


async def test_redis_without_a_password() -> None:
    async with answering(b"+PONG\r\n") as port:
        assert (await state(lambda: probes._redis(RedisSettings(url=f"redis://127.0.0.1:{port}/0")))).ok


async def test_qdrant_is_asked_with_its_key() -> None:
    def ask(port: int) -> Callable[[], Awaitable[None]]:
        return lambda: probes._qdrant(QdrantSettings(url=f"http://127.0.0.1:{port}", api_key="k-1"))

    asked: list[bytes] = []
    async with answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", asked) as port:
        assert (await state(ask(port))).ok
    assert asked[0].startswith(b"GET / HTTP/1.1\r\n")
    assert b"api-key: k-1\r\n" in asked[0]
    async with answering(b"HTTP/1.1 403 Forbidden\r\n\r\n") as port:
        assert not (await state(ask(port))).ok


async def test_a_server_that_hangs_up_or_is_away_is_not_ready() -> None:
    async with answering(b"") as port:
        hung_up = await state(lambda: probes._redis(RedisSettings(url=f"redis://127.0.0.1:{port}")))
    assert hung_up.detail == "IncompleteReadError"
    away = await state(lambda: probes._redis(RedisSettings(url=f"redis://127.0.0.1:{port}")))
    assert away.detail == "ConnectionRefusedError"


async def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "WITHIN_S", 0.05)

    async def never() -> None:
        await asyncio.Event().wait()

    assert (await state(never)).detail == "no answer within 0.05 s"


async def test_readiness_hangs_on_what_is_needed_alone(door: Door) -> None:
    async def well() -> None:
        return None

    async def ill() -> None:
        raise Transient("x", "address and secret")

    door.connections.probes = {"kafka": Probe(well, needed=True), "neo4j": Probe(ill, needed=False)}
    response = await door.client.get("/health/ready", headers={"authorization": ""})
    assert response.status_code == 200
    assert response.json()["ready"] is True
    assert response.json()["dependencies"]["neo4j"]["ok"] is False
    assert response.json()["dependencies"]["kafka"]["latency_ms"] >= 0
    assert "secret" not in response.text
    door.connections.probes = {"kafka": Probe(ill, needed=True)}
    door.connections.readiness.forget("all")
    assert (await door.client.get("/health/ready")).status_code == 503


async def test_however_many_ask_each_dependency_is_asked_once(door: Door) -> None:
    asked = 0

    async def counting() -> None:
        nonlocal asked
        asked += 1

    door.connections.probes = {"kafka": Probe(counting, needed=True)}
    await asyncio.gather(*(door.client.get("/health/ready") for _ in range(20)))
    assert asked == 1


async def test_metrics_name_no_workspace(door: Door) -> None:
    await door.client.post("/v1/documents", json={"text": "a", "source": "src_files"})
    text = (await door.client.get("/metrics", headers={"authorization": ""})).text
    assert "millrace_http_requests_total" in text
    assert "acme" not in text
