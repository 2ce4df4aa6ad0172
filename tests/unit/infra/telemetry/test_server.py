"""The small HTTP door of a worker host, asked over real sockets."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from infra.telemetry import server
from infra.telemetry.metrics import Metric, count
from infra.telemetry.server import Health, serve


class Probes:
    """Answers of the two probes, changed by tests."""

    def __init__(self) -> None:
        self.live = Health(ok=True, details={"loop_beat_age_s": 0.1})
        self.ready: Health | Exception = Health(ok=True)

    async def answer_ready(self) -> Health:
        await asyncio.sleep(0)
        if isinstance(self.ready, Exception):
            raise self.ready
        return self.ready


@pytest.fixture
async def probes() -> Probes:
    return Probes()


@pytest.fixture
async def port(probes: Probes) -> AsyncIterator[int]:
    listening = await serve(0, lambda: probes.live, probes.answer_ready)
    yield listening.sockets[0].getsockname()[1]
    listening.close()


@pytest.fixture
async def client(port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as opened:
        yield opened


async def test_health_is_json(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health/live?x=1")
    assert (answer.status_code, answer.json()) == (200, {"loop_beat_age_s": 0.1})
    assert answer.headers["content-type"] == "application/json"
    assert (await client.get("/health/ready")).status_code == 200


async def test_bad_health_is_503_with_its_cause(client: httpx.AsyncClient, probes: Probes) -> None:
    probes.ready = Health(ok=False, details={"workers": {"embedder": ["not in its consumer group yet"]}})
    answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"workers": {"embedder": ["not in its consumer group yet"]}})


async def test_a_probe_that_fails_is_bad_health_and_keeps_its_message(
    client: httpx.AsyncClient, probes: Probes
) -> None:
    probes.ready = RuntimeError("postgresql://u:s3cret@h")
    answer = await client.get("/health/ready")
    assert answer.status_code == 503
    assert "s3cret" not in answer.text


async def test_metrics_are_prometheus_text(client: httpx.AsyncClient) -> None:
    count(Metric.RECORDS_TOTAL, "server-test", "t", "done", by=2)
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'millrace_records_total{outcome="done",topic="t",worker="server-test"} 2.0' in answer.text


@pytest.mark.parametrize("method", ["POST", "HEAD", "DELETE"])
async def test_only_reading_is_allowed(client: httpx.AsyncClient, method: str) -> None:
    assert (await client.request(method, "/metrics")).status_code == 405


async def test_nothing_else_is_there(client: httpx.AsyncClient) -> None:
    assert (await client.get("/")).status_code == 404


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", b"GET /metrics HTTP/1.1\r\nbad header\r\n\r\n"])
async def test_nonsense_is_refused(port: int, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    assert (await reader.read()).startswith(b"HTTP/1.1 400")
    writer.close()


async def test_a_client_that_goes_away_or_says_nothing_holds_nobody_up(
    port: int, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, gone = await asyncio.open_connection("127.0.0.1", port)
    gone.close()
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.05)
    reader, silent = await asyncio.open_connection("127.0.0.1", port)
    silent.write(b"GET /metrics HTTP/1.1\r\n")
    assert await reader.read() == b""
    silent.close()
    assert (await client.get("/health/live")).status_code == 200
