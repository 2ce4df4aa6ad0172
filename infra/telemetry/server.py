"""The small HTTP door of a worker host: /metrics, /health/live, /health/ready, and nothing else.

Not the gateway's ASGI server: a host holds no routes, and its health must not wait behind a framework's start-up.
HTTP/1.1 is parsed by h11; a connection serves one request and is closed.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import h11
import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from infra.telemetry.logs import logger
from infra.telemetry.metrics import REGISTRY

REQUEST_SECONDS = 10.0
"""A client that has not finished asking, or reading, within this time is cut off."""

_log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """Answer of a probe: 200 if `ok`, else 503, with `details` as JSON either way. No secrets in `details`."""

    ok: bool
    details: Mapping[str, object] = field(default_factory=dict)


Probe = Callable[[], Health | Awaitable[Health]]


async def serve(port: int, live: Probe, ready: Probe, host: str = "127.0.0.1") -> asyncio.Server:
    """Listen on `host:port` (0 chooses a free one) and return at once; close the returned server to stop.

    A probe that raises counts as failed. Raises OSError if the port is taken.
    """

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await _exchange(reader, writer, {"/health/live": live, "/health/ready": ready})
        except (OSError, TimeoutError):
            pass  # the client went away or is too slow: nobody is left to tell
        finally:
            writer.close()

    return await asyncio.start_server(connected, host, port)


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, probes: Mapping[str, Probe]) -> None:
    connection = h11.Connection(h11.SERVER)
    try:
        request = await _request(connection, reader)
    except h11.RemoteProtocolError as error:
        answer = (error.error_status_hint, "text/plain", b"")
    else:
        if request is None:
            return
        answer = await _answer(request, probes)
    status, content_type, body = answer
    headers = [("content-type", content_type), ("content-length", str(len(body))), ("connection", "close")]
    writer.write(connection.send(h11.Response(status_code=status, headers=headers)) or b"")
    if body:
        writer.write(connection.send(h11.Data(data=body)) or b"")
    writer.write(connection.send(h11.EndOfMessage()) or b"")
    await writer.drain()


async def _request(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            return None
        connection.receive_data(await reader.read(16_384))


async def _answer(request: h11.Request, probes: Mapping[str, Probe]) -> tuple[int, str, bytes]:
    path = request.target.decode("ascii", "replace").partition("?")[0]
    if path != "/metrics" and path not in probes:
        return 404, "text/plain", b""
    if request.method != b"GET":
        return 405, "text/plain", b""
    if path == "/metrics":
        return 200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY)
    health = await _ask(probes[path], path)
    return (200 if health.ok else 503), "application/json", orjson.dumps(dict(health.details), default=str)


async def _ask(probe: Probe, path: str) -> Health:
    try:
        answer = probe()
        return await answer if inspect.isawaitable(answer) else answer
    except Exception:  # noqa: BLE001 - a probe that cannot tell must read as failed, whatever broke it
        _log.exception("probe failed", path=path)
        return Health(ok=False, details={"error": "the probe itself failed; see the log"})
