"""A proxy of the tests in front of a gateway: what passes it is received by httpx here, and so checked against OpenAI's
schema, whoever's client asked.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from tests.unit.gateway.serving import serving

_OF_THE_CONNECTION = frozenset({"connection", "content-length", "date", "host", "server", "transfer-encoding"})
"""Headers that each connection has of its own."""


def _passed_on(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _OF_THE_CONNECTION}


@asynccontextmanager
async def passing(url: str) -> AsyncIterator[str]:
    """Yield an address that passes every request on to `url`."""
    async with httpx.AsyncClient(base_url=url, timeout=90) as client:

        async def passed(request: Request) -> StreamingResponse:
            asked = client.build_request(
                request.method,
                request.url.path,
                params=request.query_params,
                headers=_passed_on(request.headers),
                content=await request.body(),
            )
            answer = await client.send(asked, stream=True)
            return StreamingResponse(
                answer.aiter_raw(),
                answer.status_code,
                _passed_on(answer.headers),
                background=BackgroundTask(answer.aclose),
            )

        methods = ["GET", "POST", "DELETE", "PATCH", "PUT"]
        async with serving(Starlette(routes=[Route("/{path:path}", passed, methods=methods)])) as address:  # type: ignore[arg-type]
            yield address
