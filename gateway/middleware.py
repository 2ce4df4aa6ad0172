"""What surrounds every request: id, metrics, the last catch, limits. Plain ASGI: a request costs no extra task."""

import asyncio
import re
from collections.abc import Callable
from time import perf_counter
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.problems import REQUEST_ID, Code, Problem, respond
from gateway.settings import GatewaySettings
from infra.telemetry.logs import bind, logger
from infra.telemetry.metrics import Metric, count, observe

log = logger(__name__)

DROPPED_BYTES = 64 * 1024 * 1024
"""Most that is read of a refused body."""
SILENCE_S = 2.0
"""A client that sends nothing for so long has read the answer, or never will."""
_SLASHES = re.compile("//+")
_OTHER_TYPES = ("/v1/hooks/", "/v1/documents")
"""Where bodies of other types than JSON are taken."""
_UNMEANT = frozenset({"", "application/x-www-form-urlencoded", "text/plain", "application/octet-stream"})
"""Types that senders of JSON send without meaning them: none, curl's, a browser's, a library's for bytes."""
UPLOAD_PATHS = frozenset({"/v1/documents", "/v1/documents/batch"})
_METHODS = frozenset({"GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"})


class Understanding:
    """Reads a request as its sender means it, before anybody looks at it.

    A slash too many in a path (an address that ends with one, joined to a path that begins with one) says nothing; HEAD
    is a GET whose answer has no body (RFC 9110, 9.3.2); and a body without a type, or with the one that curl and HTML
    forms send unasked, is JSON wherever nothing else is taken. Keys come in a header that no other site's page can have
    a browser send, so that a type which needs no preflight opens no door.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = _SLASHES.sub("/", scope["path"])
        path = path.rstrip("/") or "/"
        # A copy: the server goes by what it was sent.
        meant = {**scope, "path": path, "headers": _typed(path, scope)}
        if scope["method"] == "HEAD":
            meant, send = meant | {"method": "GET"}, _without_body(send)
        try:
            await self.app(meant, receive, send)
        finally:
            # For the spans, which are named outside.
            if "route" in meant:
                scope["route"] = meant["route"]


def _without_body(send: Send) -> Send:
    async def sending(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return sending


def _typed(path: str, scope: Scope) -> list[tuple[bytes, bytes]]:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if scope["method"] not in ("POST", "PATCH") or not path.startswith("/v1/") or path.startswith(_OTHER_TYPES):
        return headers
    if Headers(raw=headers).get("content-type", "").partition(";")[0].strip().lower() not in _UNMEANT:
        return headers
    kept = [(name, value) for name, value in headers if name.lower() != b"content-type"]
    return [*kept, (b"content-type", b"application/json")]


class Observing:
    """Gives each request an id, counts and times it by route, and answers 500 where nothing else answered."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = str(uuid4())
        scope.setdefault("state", {})[REQUEST_ID] = request_id
        status = 0
        started = perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        try:
            with bind(request_id=request_id):
                try:
                    await self.app(scope, receive, sending)
                except ClientDisconnect:
                    pass  # hung up: nobody is left to answer
                except Exception:
                    log.exception("request failed", path=scope["path"])
                    if status:
                        raise  # the answer has begun: only a broken connection can tell the client
                    await respond(Problem(Code.INTERNAL_ERROR), scope)(scope, receive, sending)
        finally:
            _record(scope, status, perf_counter() - started)


def _record(scope: Scope, status: int, seconds: float) -> None:
    """Count by the route's template: a path would make one time series per document."""
    route = getattr(scope.get("route"), "path", "unmatched")
    method = scope["method"] if scope["method"] in _METHODS else "other"
    count(Metric.HTTP_REQUESTS_TOTAL, route, method, str(status or 499))
    observe(Metric.HTTP_SECONDS, seconds, route, method)


class Limiting:
    """Refuses a body over its route's limit as soon as that is known, and one that does not arrive in time.

    The declared length is checked before anything is read; a chunked body is counted as it comes. What is still under
    way of a refused body is read and dropped, within bounds, before the connection is closed: most clients send all of
    it before they look at the answer, and a connection that is closed under them loses the answer (RFC 9112, 9.6).
    """

    def __init__(self, app: ASGIApp, settings: GatewaySettings) -> None:
        self.app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self._limit(scope["path"])
        declared = Headers(scope=scope).get("content-length", "0")
        if not (declared.isascii() and declared.isdigit()):
            await respond(Problem(Code.INVALID_HEADER, "content-length is not a number"), scope)(scope, receive, send)
        elif int(declared) > limit:
            await respond(_too_large(limit), scope)(scope, receive, self._lingering(receive, send))
        else:
            await self._limited(scope, receive, send, limit)

    async def _limited(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        refused = False
        lingering = self._lingering(receive, send)

        def refuse() -> None:
            nonlocal refused
            refused = True

        async def sending(message: Message) -> None:
            await (lingering if refused else send)(message)

        await self.app(scope, self._counting(receive, limit, refuse), sending)

    def _lingering(self, receive: Receive, send: Send) -> Send:
        """Return a `send` that ends the response only when the rest of the body has been dropped."""

        async def lingering(message: Message) -> None:
            if message["type"] != "http.response.body" or message.get("more_body", False):
                await send(message)
                return
            await send({**message, "more_body": True})
            await self._drop(receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        return lingering

    async def _drop(self, receive: Receive) -> None:
        dropped = 0
        deadline = asyncio.get_running_loop().time() + self._settings.body_timeout_s
        while dropped <= DROPPED_BYTES:
            try:
                async with asyncio.timeout_at(deadline), asyncio.timeout(SILENCE_S):
                    message = await receive()
            except TimeoutError:
                return
            dropped += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                return

    def _limit(self, path: str) -> int:
        if path.startswith("/v1/hooks/"):
            return self._settings.max_hook_bytes
        return self._settings.max_upload_bytes if path in UPLOAD_PATHS else self._settings.max_request_bytes

    def _counting(self, receive: Receive, limit: int, refuse: Callable[[], None]) -> Receive:
        seen = 0
        complete = False
        deadline = asyncio.get_running_loop().time() + self._settings.body_timeout_s

        async def counting() -> Message:
            nonlocal seen, complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise Problem(Code.REQUEST_TIMEOUT, headers={"Connection": "close"}) from error
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                complete = not message.get("more_body", False)
                if seen > limit:
                    if not complete:
                        refuse()
                    raise _too_large(limit)
            return message

        return counting


def _too_large(limit: int) -> Problem:
    # The rest of the body is still under way: the connection cannot serve another request.
    detail = f"the body is over the limit of {limit} bytes"
    return Problem(Code.PAYLOAD_TOO_LARGE, detail, {"Connection": "close"}, limit_bytes=limit)
