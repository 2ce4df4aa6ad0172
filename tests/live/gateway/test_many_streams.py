"""A thousand streams open at one gateway, each with its own answer."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest

from infra.postgres.keys import create_key
from schemas.chat import ChatRequest
from tests.eventually import eventually
from tests.live.gateway.conftest import Environment, Tail, running, tailing
from tests.live.gateway.test_streams import opened_publisher, say
from topics.catalogue import CHAT_REQUESTS

STREAMS = 1_000
MOST_MEMORY = 1_000_000_000
"""Bytes that the gateway may use with all of them open."""


async def read(client: httpx.AsyncClient, key: str, question: str, opened: list[str]) -> str:
    """Ask, and return what was told; `opened` grows when the stream is."""
    headers = {"authorization": f"Bearer {key}"}
    text = ""
    turn = {"message": question, "stream": True}
    async with client.stream("POST", "/v1/chat", json=turn, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        name = ""
        async for line in response.aiter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
                if name == "accepted":
                    opened.append(question)
            elif field == "data" and name == "delta":
                text += json.loads(value)["text"]
    return text


def about(request: ChatRequest, kind: str) -> str:
    """Return what is said to a request: no two are told the same."""
    known = f"{request.workspace}: {request.messages[0].content}"
    return f"{known}, answered" if kind == "final" else f"{known}, "


def batched(requests: Sequence[ChatRequest], size: int) -> Iterator[Sequence[ChatRequest]]:
    for start in range(0, len(requests), size):
        yield requests[start : start + size]


async def all_asked(questions: Tail, count: int) -> list[ChatRequest]:
    async def found() -> list[ChatRequest]:
        bodies = [each.body for each in await questions.read() if each.body.messages[0].content.startswith("many ")]
        return bodies if len(bodies) >= count else []

    return await eventually(found, within=60)


@pytest.mark.slow
async def test_a_thousand_streams_are_told_apart(
    surroundings: Environment, pool: asyncpg.Pool, workspace: str, tmp_path: Path
) -> None:
    keys = [(await create_key(pool, f"{workspace}-{number}", "test")).key for number in range(2)]
    asked = [(keys[number % 2], f"many {number}") for number in range(STREAMS)]
    patience = {"MILLRACE_ANSWER_TIMEOUT_S": "170"}
    async with (
        running(surroundings | patience, tmp_path) as gateway,
        tailing(surroundings, CHAT_REQUESTS) as questions,
        opened_publisher(surroundings) as publisher,
        httpx.AsyncClient(base_url=gateway.url, timeout=170, limits=httpx.Limits(max_connections=STREAMS)) as client,
    ):
        opened: list[str] = []
        reads = [asyncio.create_task(read(client, key, question, opened)) for key, question in asked]
        requests = await all_asked(questions, STREAMS)
        await eventually(lambda: len(opened) == STREAMS, within=60)
        memory = psutil.Process(gateway.process.pid).memory_info().rss

        for some in batched(requests, 50):
            for kind, sequence in (("delta", 0), ("final", 1)):
                await asyncio.gather(*(say(publisher, each, kind, about(each, kind), sequence) for each in some))
        told = await asyncio.gather(*reads)
    expected = [f"{workspace}-{number % 2}: many {number}, answered" for number in range(STREAMS)]
    assert told == expected
    assert memory < MOST_MEMORY, f"{memory / 1e6:.0f} MB"
    print(f"{STREAMS} open streams: {memory / 1e6:.0f} MB")  # noqa: T201 - a measurement
