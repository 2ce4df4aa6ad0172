"""A client that costs little: HTTP/1.1 by hand over connections that are kept, one question at a time on each."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Self

import orjson

from bench.chatting.backend import answer_to

OK = 200


class Crossed(Exception):  # noqa: N818 - what it says
    """An answer is not the one to its question."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where questions are asked, and how."""

    name: str
    port: int
    key: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    """What is sent besides model and messages."""

    def request(self, question: str, *, stream: bool) -> bytes:
        """Return the bytes of a request."""
        body = {"model": "instant", "messages": [{"role": "user", "content": question}], **self.fields}
        content = orjson.dumps(body | ({"stream": True} if stream else {}))
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\nauthorization: Bearer {self.key}"
        return f"{head}\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n".encode() + content


@dataclass(frozen=True, slots=True)
class Asked:
    """What one question took, in seconds."""

    whole_s: float
    first_s: float
    """Until the first word; of an answer that is not streamed, until all of it."""
    status: int = OK


class Connection:
    """One connection to a target."""

    def __init__(self, target: Target) -> None:
        self._target = target

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._target.port, limit=2**20)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def ask(self, question: str, *, stream: bool = False) -> Asked:
        """Ask. Raises Crossed for an answer that is not the one to this question.

        A status other than 200 is returned, without looking further.
        """
        began = perf_counter()
        self._writer.write(self._target.request(question, stream=stream))
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            text, first_s = await self._told(began)
        else:
            length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0])
            content = await self._reader.readexactly(length)
            first_s = perf_counter() - began
            text = orjson.loads(content)["choices"][0]["message"]["content"] if status == OK else ""
        took = perf_counter() - began
        if status == OK and text != answer_to(question):
            raise Crossed(f"{self._target.name}: {question!r} was answered {text!r}")
        return Asked(took, first_s or took, status)

    async def _told(self, began: float) -> tuple[str, float]:
        """Read a stream of events; return its text, and when the first of it came."""
        text, first_s = "", 0.0
        async for line in self._lines():
            if not line.startswith(b"data: {"):
                continue
            choices = orjson.loads(line[6:]).get("choices") or ()
            piece = choices[0].get("delta", {}).get("content") if choices else None
            if piece:
                first_s = first_s or perf_counter() - began
                text += piece
        return text, first_s

    async def _lines(self) -> AsyncIterator[bytes]:
        held = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            held += await self._reader.readexactly(size)
            await self._reader.readexactly(2)
            *whole, held = held.split(b"\n")
            for line in whole:
                yield line
        await self._reader.readexactly(2)


async def ask_all(target: Target, questions: Sequence[str], at_once: int, *, stream: bool = False) -> list[Asked]:
    """Ask `questions`, `at_once` at a time, each as soon as a connection has its last answer."""
    left = iter(questions)

    async def worker(connection: Connection) -> list[Asked]:
        return [await connection.ask(question, stream=stream) for question in left]

    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(Connection(target)) for _ in range(at_once)]
        found = await asyncio.gather(*(worker(connection) for connection in connections))
    return [asked for each in found for asked in each]
