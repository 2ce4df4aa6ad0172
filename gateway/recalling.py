"""Finds a request made earlier, at this gateway or another, and goes on reading its answer.

Where its replies are, its id says (`request_ids`); of a request made under an `Idempotency-Key`, whose id is made of
the key, it is remembered beside the cache. What neither knows any more may still stand in the archive of answers.
"""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.connections import Connections
from gateway.exchange import Exchange
from gateway.problems import Code, Problem
from infra.errors import Transient
from infra.kafka.answers import Replies
from infra.postgres.answers import Finished
from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, count
from schemas.chat import ChatReply, ReplyError
from schemas.event import now
from topics.catalogue import CHAT_REPLIES

log = logger(__name__)

CATCH_UP_S = 5.0
"""How long reading what the log holds of a request may take."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the replies to a request are."""

    partition: int
    accepted_at: datetime
    deadline: datetime
    conversation_id: UUID | None = None

    @property
    def kept(self) -> bool:
        """Whether the log still holds them."""
        return CHAT_REPLIES.retention is None or now() < self.accepted_at + CHAT_REPLIES.retention


async def place_of(held: Connections, workspace: str, request_id: UUID) -> Place | None:
    """Return where the replies are, None if that is not known. Raises Transient if it cannot be asked for."""
    issued = held.request_ids.read(workspace, request_id)
    if issued is not None:
        return Place(issued.partition, issued.at, issued.at + held.settings.patience("chat"))
    asked = await held.asked.find(workspace, request_id)
    if asked is None:
        return None
    return Place(asked.partition, asked.accepted_at, asked.deadline, asked.conversation_id)


async def check_known(held: Connections, workspace: str, request_id: UUID) -> None:
    """Raise Problem(REQUEST_NOT_FOUND) for a request that the workspace does not have.

    Raises Transient if that cannot be said: the archive does not hold it, and the memory of requests is away.
    """
    unknown: Problem | Transient = Problem(Code.REQUEST_NOT_FOUND)
    try:
        if await place_of(held, workspace, request_id) is not None:
            return
    except Transient as error:
        unknown = error
    if await held.finished(workspace, request_id) is None:
        raise unknown


async def recall(held: Connections, workspace: str, request_id: UUID) -> Exchange:
    """Return the exchange of a request made earlier, which the caller closes.

    Raises Problem(REQUEST_NOT_FOUND) if the workspace has no such request, and Transient.
    """
    try:
        place = await place_of(held, workspace, request_id)
    except Transient:
        if (archived := await held.finished(workspace, request_id)) is not None:
            return told_from(workspace, request_id, archived)
        raise
    if place is not None and place.kept:
        return await attach(held, workspace, request_id, place)
    archived = await held.finished(workspace, request_id)
    if archived is None:
        raise Problem(Code.REQUEST_NOT_FOUND)
    return told_from(workspace, request_id, archived)


async def attach(held: Connections, workspace: str, request_id: UUID, place: Place) -> Exchange:
    """Return the exchange of the request whose replies are at `place`, read from its first reply on.

    Whoever attaches counts as somebody who has come back. One that is over is read to its end before this returns.
    Raises Transient if the log cannot be read.
    """
    stack = ExitStack()
    try:
        replies = stack.enter_context(held.reply_log.follow(request_id, workspace, place.partition, place.accepted_at))
        exchange = Exchange(
            workspace,
            request_id,
            place.conversation_id,
            place.accepted_at,
            place.deadline,
            replies,
            lasting=True,
            came=await _came(held, workspace, request_id),
            stack=stack,
        )
        if exchange.left_s <= 0:
            await settle(held, exchange)
    except BaseException:
        stack.close()
        raise
    count(Metric.CHATS_TAKEN_UP_TOTAL, "from the log")
    return exchange


async def settle(held: Connections, exchange: Exchange) -> None:
    """Read what the log holds of it; one whose time is over then has an end. Raises Transient."""
    try:
        async with asyncio.timeout(CATCH_UP_S):
            await exchange.replies.caught_up.wait()
    except TimeoutError as error:
        raise Transient("kafka", "the replies cannot be read back now") from error
    if exchange.replies.ended or exchange.left_s > 0:
        return
    archived = await held.finished(exchange.workspace, exchange.request_id)
    exchange.replies.put(archived.reply if archived else _silence(exchange))


def told_from(workspace: str, request_id: UUID, archived: Finished) -> Exchange:
    """Return the exchange of an answer that the archive holds."""
    replies = Replies(workspace)
    replies.put(archived.reply)
    replies.caught_up.set()
    count(Metric.CHATS_TAKEN_UP_TOTAL, "from the archive")
    return Exchange(workspace, request_id, archived.reply.conversation_id, archived.asked_at, now(), replies)


async def _came(held: Connections, workspace: str, request_id: UUID) -> int | None:
    try:
        return await held.asked.visit(workspace, request_id)
    except Transient as error:
        log.warning("a client that came back is not counted", dependency=error.dependency, cause=error.detail)
        return None


def _silence(exchange: Exchange) -> ChatReply:
    return ChatReply(
        workspace=exchange.workspace,
        request_id=exchange.request_id,
        conversation_id=exchange.conversation_id or exchange.request_id,
        gateway="",
        sequence=0,
        kind="error",
        error=ReplyError(code="deadline_passed", detail="no answer came before the deadline"),
    )
