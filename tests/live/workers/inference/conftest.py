"""An OpenAI-compatible server on a real socket, whose behaviour a test sets."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import orjson
import pytest

ANSWER = {"choices": [{"message": {"role": "assistant", "content": "Weekly [1]."}, "finish_reason": "stop"}]}


@dataclass
class ModelServer:
    """Speaks HTTP/1.1 by hand, so that it can also stop in the middle of an answer."""

    port: int = 0
    mood: str = "well"
    """`well`, `hanging` (accepts, never answers), `cutting` (ends within the body), `busy` (429, then well)."""
    bodies: list[dict[str, object]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                headers = [line.split(b":", 1) for line in head.lower().split(b"\r\n") if b":" in line]
                length = int(dict(headers)[b"content-length"])
                self.bodies.append(orjson.loads(await reader.readexactly(length)))
                await self._answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        content = orjson.dumps(ANSWER)
        if self.mood == "hanging":
            await asyncio.Event().wait()
        if self.mood == "busy":
            self.mood = "well"
            writer.write(b"HTTP/1.1 429 Busy\r\ncontent-length: 0\r\nretry-after: 0\r\n\r\n")
        elif self.mood == "cutting":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(content), content[:20]))
            await writer.drain()
            raise ConnectionResetError
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(content), content))
        await writer.drain()


@pytest.fixture
async def model_server() -> AsyncIterator[ModelServer]:
    described = ModelServer()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(described.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    described.port = server.sockets[0].getsockname()[1]
    yield described
    server.close()
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await server.wait_closed()
