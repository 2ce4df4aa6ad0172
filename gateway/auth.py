"""Who asks: a bearer key, verified before a byte of the body is read."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.problems import Code, Problem, respond
from gateway.recent import Recent
from infra.errors import Transient
from infra.postgres.keys import PresentedKey, Principal
from infra.telemetry.logs import bind

PRINCIPAL = "principal"

_OPEN = ("/v1/hooks/", "/v1/problems/")
"""Below /v1 without a key: hooks prove themselves by signature, problem explanations are documentation."""


class Authenticating:
    """Lets a request to /v1 through only with a valid key, and leaves its principal in the scope's state.

    It stands in front of the routes, so that a new route cannot forget it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith("/v1/") or path.startswith(_OPEN):
            await self.app(scope, receive, send)
            return
        try:
            principal = await _authenticate(scope)
        except Problem as problem:
            await respond(problem, scope)(scope, receive, send)
            return
        scope["state"][PRINCIPAL] = principal
        with bind(workspace=principal.workspace, key_id=principal.key_id):
            await self.app(scope, receive, send)


async def _authenticate(scope: Scope) -> Principal:
    scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Problem(Code.MISSING_KEY)
    keys: KeyCheck = scope["app"].state.connections.keys
    try:
        principal = await keys.principal(key.strip())
    except Transient as error:
        raise Problem(Code.DEPENDENCY_UNAVAILABLE, dependency=error.dependency) from error
    if principal is None:
        raise Problem(Code.INVALID_KEY, headers={"WWW-Authenticate": 'Bearer realm="millrace", error="invalid_token"'})
    return principal


class KeyCheck:
    """Verifies keys against Postgres, believing an answer for a few seconds. Keys are held hashed."""

    def __init__(self, verify: Callable[[PresentedKey], Awaitable[Principal | None]], seconds: float) -> None:
        self._recent = Recent(verify, seconds)

    async def principal(self, key: str) -> Principal | None:
        """Return who `key` belongs to, None if it is not valid. Raises Transient."""
        presented = PresentedKey.parse(key)
        return await self._recent.get(presented) if presented else None


async def _principal(request: Request) -> Principal:
    principal: Principal = request.scope["state"][PRINCIPAL]
    return principal


BEARER = HTTPBearer(auto_error=False, description="An API key, `mr_<key id>_<secret>`; see `millrace keys create`.")
"""For the OpenAPI document only: the middleware has decided already."""

NEEDS_KEY = Security(BEARER)
Caller = Annotated[Principal, Depends(_principal)]
