"""Answers to questions asked earlier: what became of them, the rest of a broken stream, and no more of it."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel
from starlette.responses import Response

from gateway.auth import NEEDS_KEY, Caller
from gateway.cancelling import cancel
from gateway.connections import Held
from gateway.documenting import AUTHENTICATED, EVENT_STREAM, problems
from gateway.exchange import Exchange
from gateway.problems import Code, Problem
from gateway.recalling import check_known, recall, settle, told_from
from gateway.routes.chat import ENDED, ChatAnswer, chat_answer, streamed
from schemas.chat import ReplyError

router = APIRouter(tags=["chat"], dependencies=[NEEDS_KEY])

MAX_POSITION_DIGITS = 9
_MAY_FAIL = (*AUTHENTICATED, Code.REQUEST_NOT_FOUND, Code.INVALID_REQUEST, Code.BROKER_UNAVAILABLE)

LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", description="Id of the last event that arrived: the code points already told."),
]


class ChatState(BaseModel):
    """What became of a question."""

    request_id: UUID
    state: Literal["running", "finished", "failed"]
    so_far: str = ""
    """What has been written of an answer that is running."""
    answer: ChatAnswer | None = None
    """Set when finished. From the archive it has no passages and no support."""
    error: ReplyError | None = None
    """Set when failed."""


class Cancelling(BaseModel):
    """The workers have been told."""

    request_id: UUID
    state: Literal["cancelling"] = "cancelling"


@router.get(
    "/v1/chat/{request_id:uuid}",
    response_model=ChatState,
    responses=problems(*_MAY_FAIL) | {202: {"model": ChatState, "description": "The answer is still being written."}},
)
async def chat_state(request_id: UUID, caller: Caller, held: Held, response: Response) -> ChatState:
    """Return the answer to a question asked earlier; 202 while it is being written."""
    archived = await held.finished(caller.workspace, request_id)
    if archived is not None:
        return _state(told_from(caller.workspace, request_id, archived))
    exchange = await recall(held, caller.workspace, request_id)
    try:
        if not exchange.replies.ended:
            await settle(held, exchange)
        state = _state(exchange)
    finally:
        exchange.close()
    if state.state == "running":
        response.status_code = 202
    return state


@router.get(
    "/v1/chat/{request_id:uuid}/events",
    responses=problems(*_MAY_FAIL, Code.INVALID_HEADER)
    | {
        200: {"content": EVENT_STREAM, "description": "Events as of `POST /v1/chat` with `stream`."},
        204: {"description": "`Last-Event-ID` is that of the end: there is nothing to come back for."},
    },
    response_class=Response,
)
async def chat_events(
    request: Request, request_id: UUID, caller: Caller, held: Held, last_event_id: LastEventId = None
) -> Response:
    """Take up a broken stream at any gateway: the rest of the answer, without asking again.

    The answer is read back from the log and followed to its end. Without `Last-Event-ID` it is told from the beginning.
    """
    at = _position(last_event_id)
    if at is None:
        await check_known(held, caller.workspace, request_id)
        return Response(status_code=204)
    exchange = await recall(held, caller.workspace, request_id)
    return streamed(held, exchange, request.scope, at)


@router.delete("/v1/chat/{request_id:uuid}", status_code=202, response_model=Cancelling, responses=problems(*_MAY_FAIL))
async def cancel_chat(request_id: UUID, caller: Caller, held: Held) -> Cancelling:
    """Stop writing an answer. Whoever reads it is told `cancelled`; one that is finished stays as it is."""
    await check_known(held, caller.workspace, request_id)
    await cancel(held, caller.workspace, request_id, "deleted")
    return Cancelling(request_id=request_id)


def _position(last_event_id: str | None) -> int | None:
    """Return the code points that a client has, None if it has the end. Raises Problem(INVALID_HEADER)."""
    given = last_event_id or "0"
    if given == ENDED:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= MAX_POSITION_DIGITS):
        raise Problem(Code.INVALID_HEADER, "Last-Event-ID is not an id of these events")
    return int(given)


def _state(exchange: Exchange) -> ChatState:
    reply = exchange.replies.last
    if reply is None:
        return ChatState(request_id=exchange.request_id, state="running", so_far=exchange.replies.told)
    if reply.kind == "error":
        return ChatState(request_id=exchange.request_id, state="failed", error=reply.error)
    return ChatState(request_id=exchange.request_id, state="finished", answer=chat_answer(reply))
