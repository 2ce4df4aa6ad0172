"""A real HTTP server that speaks OpenAI's /v1/embeddings, and can be told to fail or to answer what is wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

from infra.models.hashed import HashEncoder
from tests.eventually import eventually

Answer = dict[str, Any]


@dataclass
class Served:
    """A server of embeddings: `failures` are statuses of the next answers, `spoil` changes an answer."""

    url: str = ""
    failures: list[int] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    spoil: Callable[[Answer], Any] | None = None
    faulty: Callable[[str, list[float]], Any] | None = None
    """Changes the vector of a text."""

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body)
        self.keys.append(request.headers.get("authorization", ""))
        if self.failures:
            return Response(status_code=self.failures.pop(0), headers={"retry-after": "7"})
        vectors = [row.tolist() for row in 3 * await HashEncoder().encode_documents(body["input"])]
        if self.faulty is not None:
            vectors = [self.faulty(text, row) for text, row in zip(body["input"], vectors, strict=True)]
        data = [{"index": at, "embedding": vector} for at, vector in enumerate(vectors)]
        answer = {"data": data[::-1], "model": body["model"]}
        return Response(orjson.dumps(self.spoil(answer) if self.spoil else answer))


@asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    """Run the server on loopback until the block ends."""
    state = Served()
    app = FastAPI()

    @app.post("/v1/embeddings")
    async def embeddings(request: Request) -> Response:
        return await state.answer(request)

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    running = asyncio.create_task(server._serve())
    await eventually(lambda: server.started)
    state.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield state
    finally:
        server.should_exit = True
        await running
