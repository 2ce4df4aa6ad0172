"""A real HTTP server on loopback that publishes a feed, and misbehaves on request."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

FEED = b"""<?xml version="1.0"?><rss version="2.0"><channel><title>Mill news</title>
<item><guid>n1</guid><title>The wheel turns</title><description>Since Sunday.</description></item></channel></rss>"""


@dataclass
class Site:
    """The server's state: what it serves, and whom it has seen."""

    port: int
    body: bytes = FEED
    etag: str = '"v1"'
    statuses: list[int] = field(default_factory=list)
    """Answers of the next requests, before it serves the feed again."""
    retry_after: str = ""
    requests: list[dict[str, str]] = field(default_factory=list)

    def url(self, path: str = "/feed.xml", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def feed(self, request: Request) -> Response:
        self.requests.append(dict(request.headers))
        if self.statuses:
            headers = {"retry-after": self.retry_after} if self.retry_after else {}
            return Response(status_code=self.statuses.pop(0), headers=headers)
        headers = {"etag": self.etag, "last-modified": "Wed, 01 May 2024 10:00:00 GMT"} if self.etag else {}
        if self.etag and request.headers.get("if-none-match") == self.etag:
            return Response(status_code=304, headers=headers)
        return Response(self.body, media_type="application/rss+xml", headers=headers)

    async def packed(self, request: Request) -> Response:
        return Response(gzip.compress(self.body), headers={"content-encoding": "gzip"})

    async def broken(self, request: Request) -> Response:
        return Response(gzip.compress(self.body)[:-12], headers={"content-encoding": "gzip"})

    async def odd(self, request: Request) -> Response:
        return Response(b"x", headers={"content-encoding": "br"})

    async def bomb(self, request: Request) -> Response:
        return Response(gzip.compress(b"\0" * 5_000_000), headers={"content-encoding": "gzip"})

    async def endless(self, request: Request) -> Response:
        async def drip() -> AsyncIterator[bytes]:
            while not await request.is_disconnected():
                yield b"x" * 50_000

        return StreamingResponse(drip())

    async def slow(self, request: Request) -> Response:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        return Response()

    async def away(self, request: Request) -> Response:
        return RedirectResponse(request.query_params["to"])


@asynccontextmanager
async def serve() -> AsyncIterator[Site]:
    """Run the site until the block ends."""
    listening = socket.create_server(("127.0.0.1", 0))
    site = Site(listening.getsockname()[1])
    paths = ("packed", "broken", "odd", "bomb", "endless", "slow", "away")
    routes = [Route("/feed.xml", site.feed), *(Route(f"/{path}", getattr(site, path)) for path in paths)]
    config = uvicorn.Config(Starlette(routes=routes), log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve(sockets=[listening]))
    try:
        yield site
    finally:
        server.should_exit = True
        await running
        listening.close()
