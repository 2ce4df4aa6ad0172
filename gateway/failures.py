"""Turns every exception that leaves a route into a problem."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gateway.problems import UNREADABLE, Code, Problem, not_offered, respond
from infra.errors import Permanent, Transient
from infra.telemetry.logs import logger
from schemas.dead_letters import Reason

log = logger(__name__)

Handler = Callable[[Request, Exception], Awaitable[Response]]

_BRANCHES = frozenset(
    {"str", "constrained-str", "int", "float", "bool", "NamedTool", "NamedFunction", "AllowedTools"}
    | {"FlatChoice", "FlatAllowed"}
)
_TAGS = frozenset({"message", "function_call", "function_call_output"})
"""Kinds of items in a list; a field of such a name stands in no list."""
_BY_STATUS = {404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED}


def install(app: FastAPI) -> None:
    """Register the handlers. What they do not know reaches the outermost middleware, which answers 500."""
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - registered for it
    return respond(error, request.scope)


async def _http(request: Request, error: Exception) -> Response:
    """Starlette's own: no route, wrong method, unreadable body."""
    assert isinstance(error, HTTPException)  # noqa: S101
    code = _BY_STATUS.get(error.status_code, Code.INVALID_REQUEST)
    detail = not_offered(request.scope["path"]) if code is Code.NOT_FOUND else ""
    return respond(Problem(code, detail or code.value.meaning, error.headers), request.scope)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return respond(invalid(error.errors()), request.scope)


def invalid(faults: Sequence[Any]) -> Problem:
    """Return the problem that names each fault of a pydantic validation; the input itself is not repeated."""
    if any(fault["type"] == "json_invalid" for fault in faults):
        return Problem(Code.INVALID_JSON)
    unreadable = [fault for fault in faults if fault["type"] == UNREADABLE]
    errors = [
        {"pointer": _pointer(fault["loc"]), "detail": fault["msg"].removeprefix("Value error, ")}
        for fault in (unreadable or faults)[:20]
    ]
    return Problem(Code.UNSUPPORTED_CONTENT if unreadable else Code.INVALID_REQUEST, errors=errors)


def _is_branch(part: str | int, before: str | int) -> bool:
    """Say whether a part of pydantic's path names the branch of a union, which is no place in the body."""
    if isinstance(part, int):
        return False
    return part in _BRANCHES or "[" in part or (isinstance(before, int) and part in _TAGS)


def _pointer(place: Sequence[str | int]) -> str:
    head, *rest = place or ("",)
    kept = [part for before, part in zip((head, *rest), rest, strict=False) if not _is_branch(part, before)]
    parts = [str(part).replace("~", "~0").replace("/", "~1") for part in kept]
    return "/" + "/".join(parts) if head == "body" else "/".join([str(head), *parts])


async def _transient(request: Request, error: Exception) -> Response:
    assert isinstance(error, Transient)  # noqa: S101
    log.warning("dependency failed", dependency=error.dependency, cause=error.detail, path=request.url.path)
    return respond(problem_of(error), request.scope)


async def _permanent(request: Request, error: Exception) -> Response:
    assert isinstance(error, Permanent)  # noqa: S101
    log.warning("request refused", reason=error.reason, cause=error.detail, path=request.url.path)
    return respond(problem_of(error), request.scope)


def problem_of(error: Problem | Transient | Permanent) -> Problem:
    """Return the problem that a failure is for the client."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Transient):
        headers = {"Retry-After": str(max(1, round(error.retry_after)))} if error.retry_after else None
        broker = error.dependency == "kafka"
        code = Code.BROKER_UNAVAILABLE if broker else Code.DEPENDENCY_UNAVAILABLE
        return Problem(code, headers=headers, dependency=error.dependency)
    code = Code.PAYLOAD_TOO_LARGE if error.reason is Reason.OVERSIZE else Code.REFUSED
    return Problem(code, f"{code.value.meaning} Reason: {error.reason}.")


HANDLERS: Mapping[type[Exception], Handler] = {
    Problem: _problem,
    HTTPException: _http,
    RequestValidationError: _invalid,
    Transient: _transient,
    Permanent: _permanent,
}
"""By kind of exception, whoever calls the endpoint."""
