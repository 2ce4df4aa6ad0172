"""Holds every answer in OpenAI's shape that the tests' clients receive from a gateway to OpenAI's published schema.

Answers are looked at where httpx receives them, and httpx2, on which OpenAI's own client stands; those to others
(JavaScript, frameworks in environments of their own) pass by a proxy of the tests. What is wrong is collected and told
when the test ends: a client might swallow what is raised inside it.
"""

import json
import struct
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import httpx
import httpx2
import jsonschema_rs
import pytest

from tests.openai_schema.cut import ANSWERS

_GATEWAYS_OWN = "x-request-id"
"""A header of every answer of a gateway, and of no server that tests put in a model server's place."""
_PLACE = "#/components/schemas/"


@cache
def document() -> dict[str, Any]:
    """Return the schemas, by name."""
    found: dict[str, Any] = json.loads(ANSWERS.read_text(encoding="utf-8"))
    return found


@cache
def _validator(name: str) -> Any:
    schema = {"$ref": f"{_PLACE}{name}", "components": {"schemas": document()}}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


@cache
def _events() -> dict[str, str]:
    """Return the schema's name of each event of a streamed response, by its type."""
    names = [each["$ref"].removeprefix(_PLACE) for each in document()["ResponseStreamEvent"]["anyOf"]]
    return {kind: name for name in names for kind in document()[name]["properties"]["type"]["enum"]}


def faults(name: str, value: Any) -> list[str]:
    """Return what schema `name` has against `value`."""
    return [f"{name} at {error.instance_path}: {error.message[:600]}" for error in _validator(name).iter_errors(value)]


def schema_of(path: str) -> str | None:
    """Return the schema of the good answer to a request of `path`; None if OpenAI has no such answer."""
    found = {
        "/v1/chat/completions": "CreateChatCompletionResponse",
        "/v1/responses": "Response",
        "/v1/models": "ListModelsResponse",
        "/v1/embeddings": "CreateEmbeddingResponse",
    }
    path = "/" + "/".join(part for part in path.split("/") if part)
    return found.get(path) or ("Model" if path.startswith("/v1/models/") else None)


def faults_of_answer(path: str, status: int, body: bytes) -> list[str]:
    """Return what is wrong with a whole answer."""
    name = schema_of(path) if status < 400 else "ErrorResponse"
    try:
        answer = json.loads(body)
    except ValueError:
        return [f"{path} {status}: no JSON: {body[:200]!r}"]
    if name == "CreateEmbeddingResponse":
        answer["data"] = [each | {"embedding": _numbers(each["embedding"])} for each in answer["data"]]
    return faults(name, answer) if name else []


def _numbers(given: Any) -> Any:
    """Return a vector as numbers. The schema does not know the base64 that `encoding_format` may ask for."""
    if not isinstance(given, str):
        return given
    content = b64decode(given, validate=True)
    return list(struct.unpack(f"<{len(content) // 4}f", content))


def faults_of_event(path: str, event: bytes) -> list[str]:
    """Return what is wrong with an event of a stream."""
    data = b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))
    if not data or (data == b"[DONE]" and path.endswith("completions")):
        return []
    told = json.loads(data)
    if not path.endswith("responses"):
        return faults("ErrorResponse" if "error" in told else "CreateChatCompletionStreamResponse", told)
    name = _events().get(told.get("type"))
    return faults(name, told) if name else [f"no event of OpenAI's is of type {told.get('type')!r}"]


class Checked(httpx.AsyncByteStream, httpx.SyncByteStream, httpx2.AsyncByteStream, httpx2.SyncByteStream):
    """A body that is looked at as it passes: whole, or event by event."""

    def __init__(self, body: Any, path: str, response: Any, tell: Callable[[list[str]], None]) -> None:
        self._body = body
        self._path = path.rstrip("/")
        self._status = response.status_code
        self._streamed = response.headers["content-type"].startswith("text/event-stream")
        self._tell = tell
        self._heard = b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            self._hear(piece)
            yield piece
        self._end()

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._body:
            self._hear(piece)
            yield piece
        self._end()

    async def aclose(self) -> None:
        await self._body.aclose()

    def close(self) -> None:
        self._body.close()

    def _hear(self, piece: bytes) -> None:
        self._heard += piece
        if self._streamed:
            *events, self._heard = self._heard.split(b"\n\n")
            for event in events:
                self._tell(faults_of_event(self._path, event))

    def _end(self) -> None:
        if not self._streamed:
            self._tell(faults_of_answer(self._path, self._status, self._heard))


def checked(request: Any, response: Any, tell: Callable[[list[str]], None]) -> Any:
    """Return the response, its body checked where it is a gateway's and of OpenAI's shape."""
    if schema_of(request.url.path) is None or _GATEWAYS_OWN not in response.headers or request.method == "HEAD":
        return response
    if "content-type" in response.headers:
        response.stream = Checked(response.stream, request.url.path, response, tell)
    return response


@contextmanager
def checking() -> Iterator[list[str]]:
    """Check whatever httpx receives from now on; yield the list that fills with what is wrong."""
    found: list[str] = []
    tell = found.extend
    with pytest.MonkeyPatch.context() as patch:
        for transport in (httpx.AsyncHTTPTransport, httpx.ASGITransport, httpx2.AsyncHTTPTransport):
            patch.setattr(transport, "handle_async_request", _awaited(transport.handle_async_request, tell))
        for plain in (httpx.HTTPTransport, httpx2.HTTPTransport):
            patch.setattr(plain, "handle_request", _called(plain.handle_request, tell))
        yield found


def _awaited(asked: Any, tell: Callable[[list[str]], None]) -> Any:
    async def handle(self: Any, request: Any) -> Any:
        return checked(request, await asked(self, request), tell)

    return handle


def _called(asked: Any, tell: Callable[[list[str]], None]) -> Any:
    def handle(self: Any, request: Any) -> Any:
        return checked(request, asked(self, request), tell)

    return handle
