"""Tells the workers that nobody wants an answer any more.

A client that hangs up says so by that, unless it can come back: the stream of `/v1/chat` can be taken up again at any
gateway, and a request with an `Idempotency-Key` is there to be repeated. Those are cancelled when nobody has come back
for a while. A gateway that stops cancels nothing: its clients go on at another.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from starlette.requests import ClientDisconnect

from gateway.accepting import PRODUCER
from gateway.connections import Connections
from gateway.exchange import Exchange
from infra.errors import Transient
from infra.kafka.codec import new_envelope
from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, count
from infra.telemetry.tracing import inject
from schemas.chat_cancel import ChatCancel
from schemas.ids import deterministic_id
from topics.catalogue import CHAT_CANCELS

log = logger(__name__)


async def cancel(held: Connections, workspace: str, request_id: UUID, reason: str) -> None:
    """Publish that nobody wants the answer. Raises Transient("kafka")."""
    body = ChatCancel(workspace=workspace, request_id=request_id, reason=reason)
    identity = deterministic_id("chat.cancel", workspace, str(request_id))
    envelope = new_envelope(body, id=identity, source=PRODUCER, cause=request_id, trace=inject())
    await held.publisher.publish(CHAT_CANCELS, body, envelope)
    count(Metric.CHATS_CANCELLED_TOTAL, reason)


def let_go(held: Connections, exchange: Exchange, *, hung_up: bool) -> None:
    """End a client's part in an exchange. `hung_up`: it went of its own accord, before the end."""
    if hung_up and exchange.wanted:
        held.errands.run(_cancel_unless_back(held, exchange), "cancel")
    exchange.close()


@contextmanager
def letting_go(held: Connections, exchange: Exchange, *, keep: bool = False) -> Iterator[None]:
    """Let go of the exchange when the block ends; with `keep`, only if it fails."""
    try:
        yield
    except BaseException as error:
        let_go(held, exchange, hung_up=isinstance(error, ClientDisconnect))
        raise
    if not keep:
        let_go(held, exchange, hung_up=False)


async def _cancel_unless_back(held: Connections, exchange: Exchange) -> None:
    if exchange.lasting:
        await asyncio.sleep(held.settings.return_grace_s)
        if await _others(held, exchange):
            return
    await cancel(held, exchange.workspace, exchange.request_id, "disconnected")


async def _others(held: Connections, exchange: Exchange) -> bool:
    """Say whether somebody has come back to it since; where that cannot be known, take it that they have."""
    if exchange.came is None:
        return True
    try:
        return await held.asked.visits(exchange.workspace, exchange.request_id) != exchange.came
    except Transient as error:
        log.warning("an answer nobody may want is not cancelled", dependency=error.dependency, cause=error.detail)
        return True
