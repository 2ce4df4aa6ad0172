"""A model server on a real socket: it writes when it is let, and knows for whom it is still writing."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route


@dataclass
class Writer:
    """Answers each question with `pieces` and the question itself, so that no two answers are alike."""

    pieces: tuple[str, ...] = ("It is ", "said: ")
    takes_s: float = 0.0
    """Time of an answer, before its first piece."""
    let: asyncio.Event = field(default_factory=asyncio.Event)
    """Nothing is written beyond the first piece until this is set."""
    at_work: int = 0
    asked: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.let.set()

    def answer(self, question: str) -> str:
        """Return what a question is answered with."""
        return "".join(self.pieces) + question

    def app(self) -> Starlette:
        """Return the server."""
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/v1/models", _models),
            ]
        )

    async def _complete(self, request: Request) -> StreamingResponse:
        question = (await request.json())["messages"][-1]["content"]
        self.asked[question] += 1
        return StreamingResponse(self._events(question), media_type="text/event-stream")

    async def _events(self, question: str) -> AsyncIterator[str]:
        self.at_work += 1
        try:
            first, *others = [*self.pieces, question]
            await _pass(self.takes_s)
            yield _event({"content": first})
            await self.let.wait()
            for piece in others:
                yield _event({"content": piece})
            yield _event({}, "stop")
            yield "data: [DONE]\n\n"
        finally:
            self.at_work -= 1


async def _models(request: Request) -> JSONResponse:
    return JSONResponse({"data": [{"id": "writer"}]})


def _event(delta: dict[str, str], finish: str | None = None) -> str:
    body = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return f"data: {json.dumps(body)}\n\n"


async def _pass(seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()
    except TimeoutError:
        return
