"""A vendor's server: OpenAI-compatible, and of few words, so that a test knows what it will say.

It keeps to a JSON schema, calls the tools that it is offered, repeats what a tool returned, and else repeats the
question. It honours `max_tokens` (in words) and `stop`, and counts words as tokens.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from tests.eventually import lapse

Body = dict[str, Any]

FIRST_WORD_S = 0.1
"""Between the first word and the others: what is there at once is told at once, and no stream could be seen."""


def filled(schema: Body) -> Any:
    """Return a value that keeps to `schema`, as far as tests use it."""
    match schema.get("type"):
        case "object":
            return {name: filled(inner) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return [filled(schema.get("items", {}))]
        case "integer" | "number":
            return 7
        case "boolean":
            return True
        case _:
            return "seven"


@dataclass
class Vendor:
    """Remembers what it was asked."""

    bodies: list[Body] = field(default_factory=list)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/v1/models", self._models),
            ]
        )

    async def _models(self, request: Request) -> JSONResponse:
        return JSONResponse({"data": [{"id": "vendor-1"}, {"id": "vendor-lora"}]})

    async def _complete(self, request: Request) -> StreamingResponse:
        body: Body = await request.json()
        assert body["stream"] is True
        self.bodies.append(body)
        return StreamingResponse(self._events(body), media_type="text/event-stream")

    async def _events(self, body: Body) -> AsyncIterator[str]:
        call = called(body)
        words, finish = ([], "tool_calls") if call else limited(said(body), body)
        for at, word in enumerate(words):
            if at == 1:
                await lapse(FIRST_WORD_S)
            yield _event({"content": word})
        if call:
            whole = call["function"]["arguments"]
            yield _event({"tool_calls": [{"index": 0, **call, "function": {**call["function"], "arguments": ""}}]})
            for part in (whole[:5], whole[5:]):
                yield _event({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
        yield _event({}, finish)
        read = sum(len(str(message["content"]).split()) for message in body["messages"])
        usage = {"prompt_tokens": read, "completion_tokens": len(words), "total_tokens": read + len(words)}
        yield f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n"


def called(body: Body) -> Body | None:
    """Return the call of the first tool, or of the one chosen, unless a tool has just answered."""
    choice = body.get("tool_choice")
    if not body.get("tools") or choice == "none" or body["messages"][-1]["role"] == "tool":
        return None
    named = choice["function"]["name"] if isinstance(choice, dict) else body["tools"][0]["function"]["name"]
    function = next(tool["function"] for tool in body["tools"] if tool["function"]["name"] == named)
    arguments = json.dumps(filled(function.get("parameters") or {"type": "object"}))
    return {
        "id": f"call_{len(body['messages'])}",
        "type": "function",
        "function": {"name": named, "arguments": arguments},
    }


def said(body: Body) -> str:
    form = body.get("response_format")
    if form:
        return json.dumps(filled(form["json_schema"]["schema"]) if "json_schema" in form else {})
    last = body["messages"][-1]
    if last["role"] == "tool":
        return f"The tool returned {last['content']} ."
    cited = " [1]" if "<<<SOURCE 1 " in last["content"] else ""
    return f"You asked: {last['content'].splitlines()[-1].removeprefix('Question: ')}{cited} 👋"


def limited(text: str, body: Body) -> tuple[list[str], str]:
    """Return the words of `text`, up to a stop sequence or the most tokens, and the finish reason."""
    for stop in body.get("stop") or ():
        text = text.partition(stop)[0]
    words = [f"{' ' if at else ''}{word}" for at, word in enumerate(text.split(" "))]
    most = body["max_tokens"]
    return (words[:most], "length") if len(words) > most else (words, "stop")


def _event(delta: Body, finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"
