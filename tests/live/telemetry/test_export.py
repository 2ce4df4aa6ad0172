"""Spans of a real process at a real OTLP receiver."""

import asyncio
import sys

from tests.live.telemetry.otlp_receiver import receiving

PROGRAM = """
import asyncio, httpx, uvicorn
from infra.telemetry import tracing

tracing.configure("probe")
tracing.configure("twice")
tracing.instrument_clients()
tracing.instrument_clients()

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": tracing.inject().get("traceparent", "none").encode()})

async def main():
    server = uvicorn.Server(uvicorn.Config(tracing.instrument_asgi(app), port=0, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        with tracing.tracer().start_as_current_span("root"):
            print((await client.get("/v1/things")).text)
        print((await client.get("/health/live")).text)
    server.should_exit = True
    await serving

asyncio.run(main())
tracing.shutdown()
tracing.shutdown()
"""


async def run(program: str, endpoint: str) -> list[str]:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=environment, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().split()


async def test_a_process_exports_client_and_server_spans_of_one_trace() -> None:
    with receiving() as receiver:
        traceparent, _ = await run(PROGRAM, receiver.endpoint)
        _, trace, span, _ = traceparent.split("-")
        spans = receiver.traces()[trace]
    (root,) = [each for each in spans if each.name == "root"]
    (client,) = [each for each in spans if each.parent == root.id]
    (server,) = [each for each in spans if each.parent == client.id]
    assert len(spans) == 3
    assert {each.service for each in spans} == {"millrace.probe"}
    assert span == server.id, "the handler runs inside the server's span"


async def test_health_makes_no_server_span() -> None:
    with receiving() as receiver:
        _, seen = await run(PROGRAM, receiver.endpoint)
        spans = list(receiver.spans())
    (client,) = [each for each in spans if "/health/live" in str(each.attributes)]
    assert not any(each.parent == client.id for each in spans)
    assert seen == "none"


async def test_a_receiver_that_is_away_breaks_nothing() -> None:
    traceparent, _ = await run(PROGRAM, "http://127.0.0.1:1")
    assert traceparent.startswith("00-")
