"""Requests that may be sent again: one `Idempotency-Key`, one question on the log, one answer.

The id of such a request is made of workspace and key, and what was asked under it is remembered beside the cache. Who
sends it again attaches to the replies of the first. Nothing is published a second time where the first is known to be
on the log. Where that is not known (the gateway died, or the broker fell silent, between claiming the key and the
broker's word; or the memory is away or lost and the answer not archived yet) the question is asked again under the same
id: its inference may then happen twice, and the archive keeps the answer that was given first.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from hashlib import sha256
from time import monotonic
from typing import Annotated, Any

import orjson
from fastapi import Header
from pydantic import BaseModel, StringConstraints

from gateway.asking import begin, expecting, put
from gateway.connections import Connections
from gateway.exchange import Exchange
from gateway.problems import Code, Problem
from gateway.recalling import Place, attach, told_from
from infra.errors import Transient
from infra.postgres.columns import storable
from infra.redis.asked import Asked
from infra.telemetry.logs import logger
from schemas.chat import ChatRequest

log = logger(__name__)

POLL_S = 0.05
"""How often a key is looked at whose request is on its way to the log."""

IdempotencyKey = Annotated[
    str | None,
    StringConstraints(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$"),
    Header(
        alias="Idempotency-Key",
        description="The same key again within a day, with the same request, gives the same answer without asking "
        "again. An answer that failed is repeated too: ask again with a new key.",
    ),
]

_TELLING = {"stream", "stream_options"}
"""Fields that say how the answer is told: one answer may be told in both ways."""


def fingerprint(path: str, body: BaseModel) -> str:
    """Return a hash of what is asked."""
    asked: dict[str, Any] = body.model_dump(mode="json", exclude=_TELLING)
    return sha256(orjson.dumps([path, asked], option=orjson.OPT_SORT_KEYS)).hexdigest()


async def begin_keyed(
    held: Connections, request: ChatRequest, key: str | None, path: str, body: BaseModel, *, lasting: bool = False
) -> Exchange:
    """Begin what `body` asks at `path`: once under `key`, or just so without one. Raises as `begin_once`."""
    if key is None:
        return await begin(held, request, lasting=lasting)
    return await begin_once(held, request, fingerprint(path, body))


async def begin_once(held: Connections, request: ChatRequest, made_of: str) -> Exchange:
    """Put the question on the log, or attach to the one that its key stands for; the caller closes the exchange.

    Raises Problem(KEY_REUSED) if that was another question, otherwise as `asking.put`.
    """
    mine = Asked(
        fingerprint=made_of,
        partition=request.reply_to.partition,
        conversation_id=request.conversation_id,
        accepted_at=request.accepted_at,
        deadline=request.deadline,
    )
    exchange = expecting(held, request, lasting=True)
    try:
        earlier = await _earlier(held, request, mine)
        if earlier is None:
            await _put(held, request, exchange, mine)
            return exchange
    except BaseException:
        exchange.close()
        raise
    exchange.close()
    return earlier


async def _earlier(held: Connections, request: ChatRequest, mine: Asked) -> Exchange | None:
    """Return the exchange that the key stands for; None if it is `mine` now, to be put on the log.

    Raises Problem(KEY_REUSED), Transient.
    """
    workspace, request_id = request.workspace, request.request_id
    until = monotonic() + held.settings.publish_timeout_s
    while True:
        try:
            kept = await held.asked.claim(workspace, request_id, mine)
        except Transient as error:
            log.warning("a repeated request may be asked twice", dependency=error.dependency, cause=error.detail)
            kept = None
        if kept is None:
            return await _archived(held, request)
        if kept.fingerprint != mine.fingerprint:
            raise Problem(Code.KEY_REUSED)
        if kept.published:
            place = Place(kept.partition, kept.accepted_at, kept.deadline, kept.conversation_id)
            return await attach(held, workspace, request_id, place)
        if monotonic() >= until:
            # Whoever claimed it has died, or has not heard from the broker.
            await _remember(held.asked.keep(workspace, request_id, mine))
            return None
        await asyncio.sleep(POLL_S)


async def _archived(held: Connections, request: ChatRequest) -> Exchange | None:
    """Return the answer of a request that only the archive remembers."""
    workspace, request_id = request.workspace, request.request_id
    archived = await held.finished(workspace, request_id)
    if archived is None:
        return None
    await _remember(held.asked.forget(workspace, request_id))
    # Not the last message: that may be what a tool returned.
    asked = next(message.content for message in reversed(request.messages) if message.role == "user")
    if archived.question != storable(asked.strip()):
        raise Problem(Code.KEY_REUSED)
    return told_from(workspace, request_id, archived)


async def _put(held: Connections, request: ChatRequest, exchange: Exchange, mine: Asked) -> None:
    workspace, request_id = request.workspace, request.request_id
    try:
        await put(held, request, exchange)
    except BaseException:
        # Who repeats it then tries again, instead of waiting for an answer that may never come.
        await _remember(held.asked.forget(workspace, request_id))
        raise
    await _remember(held.asked.keep(workspace, request_id, replace(mine, published=True)))


async def _remember(change: Awaitable[None]) -> None:
    """Change what is remembered; where that fails, a repetition may be asked again, which is said above."""
    try:
        await change
    except Transient as error:
        log.warning("what was asked is not remembered", dependency=error.dependency, cause=error.detail)
