"""The door's HTTP face: Qdrant's paths, its answer envelope, its API key."""

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from infra.qdrant.door.collection import Collection
from infra.qdrant.door.faults import Fault, Malformed, TooLarge, Unsupported
from infra.qdrant.door.settings import DoorSettings
from infra.qdrant.door.store import Store

_log = logging.getLogger(__name__)

VERSION = "1.20.0"
"""Version of Qdrant whose REST API this is; clients compare it with their own."""

_OPEN = ("/", "/healthz", "/livez", "/readyz")
"""Paths that need no key, as in Qdrant."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, its body parsed."""

    store: Store
    request: Request
    body: Any
    size: int

    @property
    def name(self) -> str:
        """Collection (or alias) in the path."""
        name: str = self.request.path_params["name"]
        return name

    @property
    def collection(self) -> Collection:
        """The collection in the path. Raises NotFound."""
        return self.store.get(self.name)

    @property
    def waits(self) -> bool:
        """True if the client wants its write on disk before the answer."""
        return self.request.query_params.get("wait") == "true"


Answer = Callable[[Call], Awaitable[Any]]


def answering(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """Wrap a handler: reads the body, writes Qdrant's envelope."""

    async def endpoint(request: Request) -> Response:
        started = time.perf_counter()
        raw = await _read(request, request.app.state.max_body)
        result = await answer(Call(request.app.state.store, request, _parse(raw), len(raw)))
        return _json(200, {"result": result, "status": "ok", "time": time.perf_counter() - started})

    return endpoint


def _json(status: int, content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), status_code=status, media_type="application/json")


def _parse(raw: bytes) -> Any:
    if not raw:
        return {}
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Malformed(str(error)) from error


async def _read(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise TooLarge(f"JSON payload ({declared} bytes) is larger than allowed (limit: {limit} bytes).")
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"JSON payload is larger than allowed (limit: {limit} bytes).")
        chunks.append(chunk)
    return b"".join(chunks)


def _refusal(status: int, message: str) -> Response:
    return _json(status, {"status": {"error": message}, "time": 0.0})


async def _on_fault(_: Request, error: Exception) -> Response:
    fault = error if isinstance(error, Fault) else Fault("unexpected")
    if fault.status >= 500 and not isinstance(fault, Unsupported):  # noqa: PLR2004 - server errors
        _log.error("%s", fault.message, exc_info=error)
    return _refusal(fault.status, fault.message)


async def _on_unknown(request: Request, _: Exception) -> Response:
    fault = Unsupported(f"{request.method} {request.url.path}")
    return _refusal(fault.status, fault.message)


async def _on_crash(request: Request, error: Exception) -> Response:
    _log.error("%s %s crashed", request.method, request.url.path, exc_info=error)
    return _refusal(500, f"Service internal error: {type(error).__name__}")


class KeyGate:
    """Lets in requests that carry the API key (`api-key`, or a bearer token), before anything of them is read."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] != "http" or scope["path"] in _OPEN:
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"api-key") or headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        if not given:
            await _refusal(401, "Must provide an API key or an Authorization bearer token")(scope, receive, send)
        elif not hmac.compare_digest(given, self._key):
            await _refusal(401, "Invalid API key or JWT")(scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def _title(_: Request) -> Response:
    return _json(200, {"title": "millrace vector door", "version": VERSION})


async def _alive(_: Request) -> Response:
    return PlainTextResponse("healthz check passed")


async def _ready(_: Request) -> Response:
    # the port opens after the shards: before that there is no answer at all
    return PlainTextResponse("all shards are ready")


async def _optimize_when_idle(store: Store, idle_s: float) -> None:
    """Runs until cancelled. A failure is logged and the next round tries again: reads and writes do not need it."""
    while True:
        await asyncio.sleep(idle_s)
        try:
            store.optimize_idle(idle_s)
        except Fault:
            _log.exception("dropping the storage of deleted points failed")


def build(settings: DoorSettings, store: Store, routes: list[Route]) -> ASGIApp:
    """Return the door's application over an open store; it closes the store when it ends."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_optimize_when_idle(store, settings.idle_s))
        try:
            yield
        finally:
            sweeper.cancel()
            store.close()

    open_routes = [Route("/", _title), Route("/readyz", _ready), Route("/healthz", _alive), Route("/livez", _alive)]
    app = Starlette(
        routes=[*open_routes, *routes],
        lifespan=lifespan,
        exception_handlers={Fault: _on_fault, HTTPException: _on_unknown, Exception: _on_crash},
    )
    app.state.store, app.state.max_body = store, settings.max_body
    return KeyGate(app, settings.api_key.get_secret_value())
