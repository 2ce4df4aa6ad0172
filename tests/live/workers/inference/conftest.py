"""An OpenAI-compatible server on a real socket, whose behaviour a test sets."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import orjson
import pytest

PIECES = ("Keys ", "are rotated ", "weekly", " [1].")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(piece: str | None = None, finish: str | None = None, **fields: object) -> bytes:
    """Return a chunk of the transfer that holds one event of a streamed answer."""
    choices = [] if piece is None and finish is None else [{"delta": {"content": piece}, "finish_reason": finish}]
    return chunk(b"data: " + orjson.dumps({"object": "chat.completion.chunk", "choices": choices, **fields}))


def chunk(line: bytes) -> bytes:
    data = line + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


@dataclass
class ModelServer:
    """Speaks HTTP/1.1 by hand, so that it can also stop in the middle of an answer."""

    port: int = 0
    moods: list[str] = field(default_factory=list)
    """What to do with each request; the last one stays. `well`, `hanging` (accepts, never answers), `busy` (429),
    `away` (429 for an hour), `changing` (another answer), `slow` (`delay_s` before the answer), `paced` (before
    each piece), `whole` (not streamed).
    After half an answer: `stalling` (silence), `cutting` (a reset), `ending` (a proper end of the body), `garbage`,
    `erring` (an error where a piece is due)."""
    delay_s: float = 0.0
    bodies: list[dict[str, object]] = field(default_factory=list)
    at_work: int = 0
    connections: int = 0
    most_at_work: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                headers = dict(line.split(b":", 1) for line in head.lower().split(b"\r\n") if b":" in line)
                if head.startswith(b"GET"):
                    await self._list(writer)
                    continue
                self.bodies.append(orjson.loads(await reader.readexactly(int(headers[b"content-length"]))))
                self.at_work += 1
                self.most_at_work = max(self.most_at_work, self.at_work)
                try:
                    await self._until_gone(self._answer(writer), reader)
                finally:
                    self.at_work -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _until_gone(self, answering: "asyncio.Future[None] | object", reader: asyncio.StreamReader) -> None:
        """Answer until done or until the client closes its connection, as real servers do."""
        work = asyncio.ensure_future(answering)  # type: ignore[arg-type]
        while not work.done() and not reader.at_eof():
            await asyncio.wait([work], timeout=0.01)
        if not work.done():
            work.cancel()
            await asyncio.wait([work])
            raise ConnectionResetError
        work.result()

    async def _list(self, writer: asyncio.StreamWriter) -> None:
        content = orjson.dumps({"data": [{"id": "tiny"}, {"id": "support-lora"}]})
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(content), content))
        await writer.drain()

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        mood = (self.moods.pop(0) if len(self.moods) > 1 else self.moods[0]) if self.moods else "well"
        if mood == "hanging":
            await asyncio.Event().wait()
        if mood in {"busy", "away"}:
            wait = 3_600 if mood == "away" else 0
            writer.write(b"HTTP/1.1 429 Busy\r\ncontent-length: 0\r\nretry-after: %d\r\n\r\n" % wait)
        elif mood == "whole":
            choice = {"message": {"content": "".join(PIECES)}, "finish_reason": "stop"}
            content = orjson.dumps({"choices": [choice]})
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
            writer.write(b"content-length: %d\r\n\r\n%s" % (len(content), content))
        else:
            if mood == "slow":
                await _pass(self.delay_s)
            await self._stream(writer, mood)
        await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter, mood: str) -> None:
        writer.write(HEAD + chunk(b": a comment"))
        pieces = ("Never",) if mood == "changing" else PIECES
        half = mood in {"stalling", "cutting", "ending", "garbage", "erring"}
        for piece in () if mood == "refusing" else pieces[:2] if half else pieces:
            if mood == "paced":
                await _pass(self.delay_s)
            writer.write(event(piece))
            await writer.drain()
        match mood:
            case "stalling":
                await asyncio.Event().wait()
            case "cutting":
                raise ConnectionResetError
            case "garbage":
                writer.write(chunk(b"data: \xff\xfe{not json"))
            case "refusing":
                # As vLLM does: under status 200, where the stream has begun before the request is looked at.
                fault = {"message": "Grammar error: Invalid type: nonsense", "type": "BadRequestError", "code": 400}
                writer.write(chunk(b"data: " + orjson.dumps({"error": fault})) + chunk(b"data: [DONE]"))
            case "erring":
                writer.write(chunk(b'data: {"error": {"message": "out of memory"}}'))
            case "ending":
                pass
            case _:
                writer.write(event("", "stop") + event(usage={"prompt_tokens": 7, "completion_tokens": 5}))
                writer.write(chunk(b"data: [DONE]"))
        writer.write(b"0\r\n\r\n")


async def _pass(seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()
    except TimeoutError:
        return


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
