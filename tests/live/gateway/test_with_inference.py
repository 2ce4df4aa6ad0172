"""Gateway and inference worker as processes, around a model server that writes word by word.

The test stands in for the retriever alone: it hands each question on as a prompt.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from uuid import uuid4

import openai
import pytest
from openai import AsyncOpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from infra.kafka.codec import new_envelope
from infra.kafka.producer import Publisher
from schemas.chat import ChatPrompt
from tests.eventually import eventually
from tests.live.gateway.conftest import Environment, Gateway, Tail, running, tailing
from tests.live.gateway.test_streams import Reading, begun, opened_publisher
from tests.unit.gateway.serving import serving
from topics.catalogue import CHAT_PROMPTS, CHAT_REQUESTS

WORDS = ["The", " mill", " wheel", " turns", " —", " slowly", " 👋."]
"""A space ends no delta: the worker keeps it back, since the end of an answer is trimmed."""


@dataclass
class Author:
    """A model that writes as many of its words as it is let."""

    let: int = len(WORDS)
    asked: int = 0
    at_work: int = 0
    more: asyncio.Event = field(default_factory=asyncio.Event)

    def go_on(self, let: int) -> None:
        self.let = let
        self.more.set()

    async def complete(self, request: Request) -> StreamingResponse:
        await request.body()
        self.asked += 1
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def models(self, request: Request) -> JSONResponse:
        return JSONResponse({"data": [{"id": "author"}]})

    async def _events(self) -> AsyncIterator[str]:
        self.at_work += 1
        try:
            for number, word in enumerate(WORDS):
                while number >= self.let:
                    self.more.clear()
                    await self.more.wait()
                yield _event({"content": word})
            yield _event({}, "stop")
            yield "data: [DONE]\n\n"
        finally:
            self.at_work -= 1


def _event(delta: dict[str, str], finish: str | None = None) -> str:
    body = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return f"data: {json.dumps(body)}\n\n"


@pytest.fixture
async def author() -> Author:
    return Author()


@pytest.fixture
async def model(author: Author) -> AsyncIterator[str]:
    """The address of the model server."""
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", author.complete, methods=["POST"]),
            Route("/v1/models", author.models),
        ]
    )
    async with serving(app) as url:
        yield url


@asynccontextmanager
async def inferring(surroundings: Environment, model: str, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the inference worker, under one name that its successor has too."""
    told = {"INFERENCE_URL": model, "MILLRACE_INSTANCE": "inference-of-the-test", "MILLRACE_SESSION_S": "6"}
    told["INFERENCE_CHUNK_TIMEOUT_S"] = "60"
    with (folder / f"inference-{uuid4().hex[:8]}.log").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "workers.host", "inference"),
            env=os.environ | surroundings | told,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 30)


@pytest.fixture
async def retriever(surroundings: Environment) -> AsyncIterator[None]:
    """Hands questions on."""
    async with tailing(surroundings, CHAT_REQUESTS) as questions, opened_publisher(surroundings) as publisher:
        handing = asyncio.create_task(_hand_on(questions, publisher))
        yield
        handing.cancel()
        await asyncio.gather(handing, return_exceptions=True)


async def _hand_on(questions: Tail, publisher: Publisher) -> None:
    handed = 0
    while True:
        found = await questions.read()
        for question in found[handed:]:
            request = question.body
            prompt = ChatPrompt(
                workspace=request.workspace,
                request=request,
                question=request.messages[-1].content,
                messages=request.messages,
            )
            envelope = new_envelope(prompt, id=request.request_id, source="/test", cause=question.envelope.id)
            await publisher.publish(CHAT_PROMPTS, prompt, envelope)
        handed = len(found)


@pytest.fixture(scope="module")
async def front(surroundings: Environment, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with running(surroundings, tmp_path_factory.mktemp("front")) as started:
        yield started


@pytest.mark.usefixtures("retriever")
async def test_words_come_as_they_are_written_and_leaving_frees_the_model(  # noqa: PLR0917 - fixtures
    front: Gateway, surroundings: Environment, author: Author, model: str, key: str, tmp_path: Path
) -> None:
    author.let = 2
    async with (
        inferring(surroundings, model, tmp_path),
        AsyncOpenAI(base_url=f"{front.url}/v1", api_key=key, max_retries=0, timeout=60) as client,
    ):
        asking = {"model": "millrace", "messages": [{"role": "user", "content": "what turns?"}]}
        stream = await client.chat.completions.create(**asking, stream=True)
        told = ""
        while len(told) < len("The mill"):
            told += (await anext(stream)).choices[0].delta.content or ""
        assert (told, author.at_work) == ("The mill", 1)
        left_at = monotonic()
        await stream.close()
        # It says nothing more until it is let go on, so that nothing but the leaving ends its work.
        await eventually(lambda: author.at_work == 0, every=0.01)
        freed_s = monotonic() - left_at
        author.go_on(len(WORDS))
        answer = await client.chat.completions.create(**asking)
        assert answer.choices[0].message.content == "".join(WORDS)
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(**asking | {"model": "nobody"}, stream=True)
    print(f"the model was left alone {freed_s * 1000:.0f} ms after its reader had gone")  # noqa: T201 - a measurement


@pytest.mark.usefixtures("retriever")
async def test_a_worker_killed_in_the_middle_is_not_noticed_by_the_reader(  # noqa: PLR0917 - fixtures
    front: Gateway, surroundings: Environment, author: Author, model: str, key: str, tmp_path: Path
) -> None:
    author.let = 3
    reading = Reading()
    async with begun(front, key, reading) as read:
        async with inferring(surroundings, model, tmp_path) as first:
            await eventually(lambda: reading.text == "The mill wheel", within=40)
            first.send_signal(signal.SIGKILL)
            await first.wait()
        author.go_on(len(WORDS))
        async with inferring(surroundings, model, tmp_path):
            await asyncio.wait_for(read, 60)
    assert reading.text == reading.last["answer"] == "".join(WORDS)
    assert reading.error == ""
    assert author.asked == 2
