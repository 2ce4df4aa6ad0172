"""An OpenAI-compatible server that answers at once: `python -m bench.chatting.backend PORT`.

It says back what it was asked, so that every answer tells whose it is. A question that begins with `hold` is held back
until GET /release; one that begins with `slow N` takes N seconds. Hand-made HTTP: what the backend costs is in every
figure, and takes CPU time from what is measured.
"""

import asyncio
import sys

import orjson
import uvloop

SAID = "You said: "
PIECES = 4
"""Pieces of a streamed answer."""
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\n"


def answer_to(question: str) -> str:
    """Return what a question is answered with."""
    return SAID + question


class Backend(asyncio.Protocol):
    """One connection, kept alive."""

    released = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment] # of a TCP server
        self._data = b""
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_lost(self, _: Exception | None) -> None:
        """Answer nobody any more."""
        for task in self._tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        """Take requests as they come complete."""
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self._data) < end + 4 + length:
                return
            body, self._data = self._data[end + 4 : end + 4 + length], self._data[end + 4 + length :]
            self._asked(head, body)

    def _asked(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get"):
            if b"/release" in head:
                self.released.set()
            self._whole(orjson.dumps({"object": "list", "data": [{"id": "instant", "object": "model"}]}))
            return
        wanted = orjson.loads(body)
        # With sources the question stands behind them.
        question = wanted["messages"][-1]["content"].rpartition("Question: ")[2]
        if question.startswith(("hold", "slow")):
            task = asyncio.ensure_future(self._later(question, wanted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._answer(question, wanted)

    async def _later(self, question: str, wanted: dict[str, object]) -> None:
        if question.startswith("hold"):
            await self.released.wait()
        else:
            await asyncio.sleep(float(question.split()[1]))
        self._answer(question, wanted)

    def _answer(self, question: str, wanted: dict[str, object]) -> None:
        text = answer_to(question)
        usage = {"prompt_tokens": 10, "completion_tokens": PIECES, "total_tokens": 10 + PIECES}
        known = {"id": "chatcmpl-1", "created": 1, "model": wanted["model"]}
        if not wanted.get("stream"):
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            whole = known | {"object": "chat.completion", "choices": [choice], "usage": usage}
            self._whole(orjson.dumps(whole))
            return
        known |= {"object": "chat.completion.chunk"}
        step = -(-len(text) // PIECES)
        deltas = [({"content": text[at : at + step]}, None) for at in range(0, len(text), step)] + [({}, "stop")]
        events = [
            known | {"choices": [{"index": 0, "delta": {"role": "assistant"} | delta, "finish_reason": finish}]}
            for delta, finish in deltas
        ]
        events.append(known | {"choices": [], "usage": usage})
        lines = [b"data: " + orjson.dumps(event) + b"\n\n" for event in events] + [b"data: [DONE]\n\n"]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(line), line) for line in lines)
        self._transport.write(
            HEAD % b"text/event-stream" + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        )

    def _whole(self, content: bytes) -> None:
        self._transport.write(HEAD % b"application/json" + b"content-length: %d\r\n\r\n%b" % (len(content), content))


async def serve(port: int) -> None:
    """Serve until ended."""
    server = await asyncio.get_running_loop().create_server(Backend, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
