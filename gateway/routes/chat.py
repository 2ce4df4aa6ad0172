"""Conversations in our own shape."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import Response
from starlette.types import Scope

from gateway.asking import MAX_CONTENT, question, routed
from gateway.auth import NEEDS_KEY, Caller
from gateway.cancelling import let_go, letting_go
from gateway.connections import Connections, Held
from gateway.documenting import EVENT_STREAM, problems
from gateway.exchange import Exchange, unless_gone
from gateway.plain import Way
from gateway.problems import Problem, problem_body
from gateway.repeating import IdempotencyKey, begin_keyed
from gateway.routes.search import ANSWERING, ASKING, Answer, Filters, MinSupport, answer_of
from gateway.streaming import Stream, event, told
from infra.kafka.answers import Part
from infra.postgres.conversations import history
from schemas.chat import ChatMessage, ChatReply, ChatRequest, Intent

router = APIRouter(tags=["chat"], dependencies=[NEEDS_KEY])

ENDED = "end"
"""Event id of the end of an answer: nothing follows it."""


class ChatTurn(BaseModel):
    """What the user says."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"message": "What changed in the last release?"}]}
    )

    message: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_CONTENT)]
    conversation_id: UUID | None = None
    """Continues a conversation of this workspace; any other id begins one under it."""
    top_k: int = Field(default=5, ge=1, le=100)
    filters: Filters = Field(default_factory=Filters)
    retrieve: bool = True
    intent: Intent | None = None
    """What kind of question it is, where the sender knows better than the classifier."""
    cached: bool = True
    """Whether an earlier answer to nearly the same question may stand in while no model answers."""
    min_support: MinSupport = None
    stream: bool = False
    """Tell the answer as it is written, in server-sent events `accepted`, `delta`, `final`, `error`."""


class ChatAnswer(Answer):
    """An answer in a conversation."""

    conversation_id: UUID


class Events:
    """A streamed answer: `accepted`, `delta`…, and `final` or `error`.

    An event's id is the number of the answer's code points up to and including it: with it as `Last-Event-ID`, any
    gateway tells the rest.
    """

    def __init__(self, exchange: Exchange, scope: Scope, at: int = 0) -> None:
        self._exchange = exchange
        self._scope = scope
        self._at = at

    def opening(self) -> bytes:
        """Return what a client needs to come back to the answer."""
        known: dict[str, Any] = {"request_id": str(self._exchange.request_id)}
        if self._exchange.conversation_id is not None:
            known["conversation_id"] = str(self._exchange.conversation_id)
        return event(known, "accepted", str(self._at))

    def text(self, part: Part) -> bytes:
        """Return new text."""
        return event({"text": part.text}, "delta", str(part.at))

    def end(self, reply: ChatReply) -> bytes:
        """Return the whole answer with its sources."""
        return event(chat_answer(reply).model_dump(mode="json"), "final", ENDED)

    def error(self, problem: Problem) -> bytes:
        """Return the problem as its response would have had it."""
        return event(problem_body(problem, self._scope), "error", ENDED)


@router.post(
    "/v1/chat",
    response_model=ChatAnswer,
    responses=problems(*ASKING, *ANSWERING) | {200: {"content": EVENT_STREAM}},
)
async def chat(
    request: Request, turn: ChatTurn, caller: Caller, held: Held, idempotency_key: IdempotencyKey = None
) -> Response | ChatAnswer:
    """Say something in a conversation and wait for the answer, or read it as it is written."""
    asked = await _asked(held, caller.workspace, turn, idempotency_key)
    exchange = await begin_keyed(held, asked, idempotency_key, request.scope["path"], turn, lasting=turn.stream)
    if turn.stream:
        return streamed(held, exchange, request.scope)
    with letting_go(held, exchange):
        return chat_answer(await unless_gone(request.receive, exchange.end()))


PLAIN = Way("/v1/chat", ChatTurn, chat)


async def _asked(held: Connections, workspace: str, turn: ChatTurn, key: str | None) -> ChatRequest:
    earlier: list[ChatMessage] = []
    if turn.conversation_id is not None:
        limits = held.settings.history_turns, held.settings.history_characters
        earlier = await history(held.pool, workspace, turn.conversation_id, *limits)
    asked = await question(
        held,
        workspace,
        purpose="chat",
        messages=[*earlier, ChatMessage(role="user", content=turn.message)],
        top_k=turn.top_k,
        filters=turn.filters,
        retrieve=turn.retrieve,
        conversation_id=turn.conversation_id,
        stream=turn.stream,
        idempotency_key=key,
    )
    return routed(asked, turn.intent, cached=turn.cached, min_support=turn.min_support)


def streamed(held: Connections, exchange: Exchange, scope: Scope, at: int = 0) -> Response:
    """Return the answer's events from its `at`th code point on."""
    content = told(exchange, Events(exchange, scope, at), at=at, every_s=held.settings.keepalive_s)
    return Stream(content, lambda gone: let_go(held, exchange, hung_up=gone))


def chat_answer(reply: ChatReply) -> ChatAnswer:
    """Return a final reply as clients see it."""
    return ChatAnswer(**answer_of(reply).model_dump(), conversation_id=reply.conversation_id)
