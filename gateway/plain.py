"""The short way of a request that is asked often: from the wire to its endpoint without routing and dependencies.

A chat with an instant model spends a third of the gateway's CPU time on finding its route, solving its endpoint's
dependencies one by one and wrapping what it sends, again for each request. A request that needs none of that (its path
is that of a `Way`, its body is JSON that fits) is validated once, from its bytes, and handed to the same endpoint.
Any other goes through the framework from the start, which words what is wrong with it as everywhere else.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.auth import PRINCIPAL
from gateway.connections import Connections
from gateway.failures import HANDLERS
from infra.postgres.keys import Principal

JSON = "application/json"
KEYED = "idempotency-key"
"""A header that the endpoints take: where it is sent, the framework checks it."""

Endpoint = Callable[[Request, Any, Principal, Connections], Awaitable[Response | BaseModel]]
"""A route's function: the request, its body, who asks, what the process holds."""


@dataclass(frozen=True, slots=True)
class Way:
    """A route whose requests may take the short way."""

    path: str
    """Its address, and its name in the metrics: without parameters both are the same."""
    body: type[BaseModel]
    endpoint: Endpoint


class Plain:
    """Answers plain requests; stands behind authentication and limits, and before the framework's routes."""

    def __init__(self, app: ASGIApp, ways: Iterable[Way]) -> None:
        self.app = app
        self._ways: Mapping[str, Way] = {way.path: way for way in ways}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        way = self._ways.get(scope.get("path", ""))
        if way is None or not _may_be_plain(scope):
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        answered = await _caught(request, self._answer(way, request))
        if answered is None:
            await self.app(scope, _again(await request.body(), receive), send)
        else:
            await answered(scope, receive, send)

    async def _answer(self, way: Way, request: Request) -> Response | None:
        """Return the answer; None for a request that is not plain."""
        body = await request.body()
        try:
            wanted = way.body.model_validate_json(body)
        except ValidationError:
            return None
        scope = request.scope
        scope["route"] = way
        answer = await way.endpoint(request, wanted, scope["state"][PRINCIPAL], scope["app"].state.connections)
        if isinstance(answer, Response):
            return answer
        return Response(answer.__pydantic_serializer__.to_json(answer), media_type=JSON)


def _may_be_plain(scope: Scope) -> bool:
    if scope["method"] != "POST":
        return False
    headers = Headers(scope=scope)
    # With parameters, such as a charset, it is for the framework to say what it makes of them.
    return headers.get("content-type") == JSON and KEYED not in headers


async def _caught(request: Request, answer: Awaitable[Response | None]) -> Response | None:
    """Return what the framework's handlers make of an error; one that they do not know goes on, as it does there."""
    try:
        return await answer
    except tuple(HANDLERS) as error:
        handler = next(HANDLERS[kind] for kind in type(error).__mro__ if kind in HANDLERS)
        return await handler(request, error)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the whole body first."""
    given = False

    async def receiving() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving
