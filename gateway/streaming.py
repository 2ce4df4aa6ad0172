"""Answers as they are written: server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar, Protocol

import orjson
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from gateway.exchange import Exchange, failed, unless_gone
from gateway.problems import Problem
from infra.kafka.answers import Part
from infra.telemetry.metrics import Metric, gauge
from schemas.chat import ChatReply

NOT_BUFFERED = {"cache-control": "no-cache", "x-accel-buffering": "no"}
"""A proxy that gathers the events would undo the streaming; the second is nginx's own word for it."""
JOINED_BYTES = 64 * 1024
"""Most that waits for the end to go out with it: of a reader that stopped reading, the end is not made before the rest
has gone, so that it is not held twice."""


class Shape(Protocol):
    """How an answer is told in events."""

    def opening(self) -> bytes:
        """Return what is sent before anything of the answer is known."""

    def text(self, part: Part) -> bytes:
        """Return the event of new text."""

    def end(self, reply: ChatReply) -> bytes:
        """Return the events that end a good answer."""

    def error(self, problem: Problem) -> bytes:
        """Return the events that end any other."""


class Stream(EventSourceResponse):
    """An event stream that says when it is over, and whether because its client has gone."""

    open: ClassVar[int] = 0
    """Streams of this process."""

    def __init__(self, content: AsyncIterator[bytes], over: Callable[[bool], None]) -> None:
        super().__init__(content, headers=NOT_BUFFERED)
        self._over = over

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send the events. Not as the base class does: its group of tasks costs a tenth of a short answer."""
        _count_open(1)
        try:
            await unless_gone(receive, self.stream_response(send))
        except ClientDisconnect:
            pass  # the same as an end: what is still wanted then is let go below
        except asyncio.CancelledError:
            # The server ends what is still running when it stops: the client is there, and goes on elsewhere.
            self._over(False)
            raise
        except BaseException:
            self._over(True)
            raise
        finally:
            _count_open(-1)
        self._over(True)


def _count_open(change: int) -> None:
    Stream.open += change
    gauge(Metric.STREAMS_OPEN, Stream.open)


async def told(
    exchange: Exchange, shape: Shape, *, at: int = 0, first: Part | None = None, every_s: float
) -> AsyncIterator[bytes]:
    """Yield the events of an answer from its `at`th code point on, with a comment when nothing comes for `every_s`.

    `first` has been taken from the exchange before.
    """
    # What is there already goes out at once: each piece that is sent on its own passes every layer of the server.
    ready = shape.opening()
    if first is None:
        yield ready
        ready = b""
    part = first
    while True:
        try:
            part = part or await exchange.after(at, every_s)
        except Problem as problem:
            yield shape.error(problem)
            return
        if part is None:
            yield KEEPALIVE_COMMENT
            continue
        if part.text:
            ready += shape.text(part)
        if ready and (part.end is None or len(ready) > JOINED_BYTES):
            yield ready
            ready = b""
        if part.end is not None:
            yield ready + (shape.end(part.end) if part.end.kind == "final" else shape.error(failed(part.end.error)))
            return
        at, part = part.at, None


def event(data: Any, name: str | None = None, id: str | None = None) -> bytes:  # noqa: A002 - the field is id
    """Return one event with `data` as JSON."""
    return format_sse_event(data_str=orjson.dumps(data).decode(), event=name, id=id)
