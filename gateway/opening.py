"""Opens the stream of an answer whose first word decides whether there is one."""

from fastapi import Request
from starlette.responses import Response

from gateway.cancelling import let_go, letting_go
from gateway.connections import Connections
from gateway.exchange import Exchange, failed, unless_gone
from gateway.streaming import Shape, Stream, told


async def opened(request: Request, held: Connections, exchange: Exchange, shape: Shape) -> Response:
    """Return the stream once the answer begins, so that a refusal still is a status and a body of its own.

    A client that hangs up before the end cancels the answer. Raises Problem, ClientDisconnect.
    """
    every_s = held.settings.keepalive_s
    with letting_go(held, exchange, keep=True):
        first = await unless_gone(request.receive, exchange.after(0, every_s))
        if first is not None and first.end is not None and first.end.kind == "error" and not first.text:
            raise failed(first.end.error)
    content = told(exchange, shape, first=first, every_s=every_s)
    return Stream(content, lambda gone: let_go(held, exchange, hung_up=gone))
