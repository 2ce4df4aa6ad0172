"""The application behind a real HTTP server on loopback: streams and hang-ups are those of the wire."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import uvicorn
from fastapi import FastAPI

from schemas.chat import ChatReply, ChatRequest, ReplyError
from schemas.chat_cancel import ChatCancel
from tests.eventually import eventually
from tests.unit.gateway.conftest import KEY, Door


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """Serve `app`, whose lifespan has begun already; yield its address."""
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None, access_log=False, ws="none")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        server.force_exit = True
        await task


@asynccontextmanager
async def caller(url: str, key: str = KEY) -> AsyncIterator[httpx.AsyncClient]:
    """A client of its own connections."""
    async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60) as opened:
        yield opened


@dataclass
class Event:
    """A server-sent event."""

    name: str = ""
    data: Any = None
    id: str = ""


async def events(response: httpx.Response) -> AsyncIterator[Event]:
    """Yield the events of a stream; comments are passed over."""
    found: dict[str, str] = {}
    async for line in response.aiter_lines():
        if not line and found:
            data = found.get("data", "")
            yield Event(found.get("event", ""), data if data == "[DONE]" else json.loads(data), found.get("id", ""))
            found = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            found[name] = value


def reply(request: ChatRequest, kind: str, text: str = "", sequence: int = 0, **fields: Any) -> ChatReply:
    """Return a reply to `request`."""
    values = {"workspace": request.workspace, "gateway": request.reply_to.gateway, "kind": kind, "text": text}
    known = {"request_id": request.request_id, "conversation_id": request.conversation_id, "sequence": sequence}
    return ChatReply.model_validate({**values, **known, **fields})


def failure(request: ChatRequest, code: str) -> ChatReply:
    """Return an error reply."""
    return reply(request, "error", error=ReplyError(code=code, detail="in words"))


def telling(*texts: str, **fields: Any) -> Any:
    """Return an answerer that writes `texts` one after the other, then their whole."""
    return lambda request: [
        *(reply(request, "delta", text, number) for number, text in enumerate(texts)),
        reply(request, "final", "".join(texts), len(texts), **fields),
    ]


async def asked(door: Door, number: int = 1) -> ChatRequest:
    """Return the `number`th question, once it is on the log."""

    def found() -> ChatRequest | None:
        requests = [body for body in door.log.bodies if isinstance(body, ChatRequest)]
        return requests[number - 1] if len(requests) >= number else None

    request = await eventually(found)
    assert isinstance(request, ChatRequest)
    return request


def cancels(door: Door) -> list[ChatCancel]:
    """Return the cancels on the log."""
    return [body for body in door.log.bodies if isinstance(body, ChatCancel)]


def unknown() -> str:
    """Return an id that nobody has."""
    return str(uuid4())
