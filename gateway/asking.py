"""Asks questions over the log."""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from uuid import UUID

from gateway.accepting import PRODUCER
from gateway.connections import Connections
from gateway.exchange import Exchange
from gateway.problems import Code, Problem
from gateway.settings import Purpose
from infra.errors import Transient
from infra.kafka.codec import new_envelope
from infra.telemetry.logs import logger
from infra.telemetry.tracing import inject
from schemas.chat import ChatMessage, ChatReply, ChatRequest, Generation, Intent
from schemas.event import now
from schemas.filters import SearchFilters
from schemas.ids import deterministic_id
from topics.catalogue import CHAT_REQUESTS

log = logger(__name__)

MAX_CONTENT = 1_000_000
"""Characters of one message; a tool may return a long file. Most prompts hold less: that is refused, or cut, where the
prompt is made."""


async def question(
    held: Connections,
    workspace: str,
    *,
    purpose: Purpose,
    messages: Sequence[ChatMessage],
    top_k: int = 5,
    filters: SearchFilters | None = None,
    retrieve: bool = True,
    model: str = "",
    generation: Generation | None = None,
    conversation_id: UUID | None = None,
    idempotency_key: str | None = None,
    stream: bool = False,
) -> ChatRequest:
    """Return a question that can be asked now, its replies directed to this gateway. Under an `idempotency_key` its id,
    and that of a conversation that it begins, are made of the key.

    Raises Transient("kafka") if replies cannot be heard, Problem(CONVERSATION_NOT_FOUND) for a deleted conversation.
    """
    new = await _check(held, workspace, conversation_id)
    await held.replies.wait_ready(held.settings.publish_timeout_s)
    accepted_at, reply_to = now(), held.replies.reply_to
    request_id, begun = _ids(held, workspace, idempotency_key, reply_to.partition, accepted_at)
    if new or (idempotency_key is not None and conversation_id is None):
        await _begin(held, workspace, conversation_id or begun, accepted_at)
    return ChatRequest(
        workspace=workspace,
        request_id=request_id,
        conversation_id=conversation_id or begun,
        messages=tuple(messages),
        model=model,
        retrieve=retrieve,
        top_k=top_k,
        filters=filters or SearchFilters(),
        generation=generation or Generation(),
        purpose=purpose,
        reply_to=reply_to,
        accepted_at=accepted_at,
        deadline=accepted_at + held.settings.patience(purpose),
        idempotency_key=idempotency_key or "",
        stream=stream,
    )


def _ids(held: Connections, workspace: str, key: str | None, partition: int, at: datetime) -> tuple[UUID, UUID]:
    """Return the ids of a request, and of the conversation that it begins if it names none."""
    if key is not None:
        return ids_of(workspace, key)
    place = workspace, partition, at
    return held.request_ids.issue(*place), held.conversation_ids.issue(*place)


async def _check(held: Connections, workspace: str, conversation_id: UUID | None) -> bool:
    """Say whether the question begins a conversation under an id of the asker's own. Refuse one that was deleted:
    nothing is kept of it, and an answer in it would not be either.
    """
    if conversation_id is None:
        return False
    deleted = await held.is_deleted(workspace, conversation_id)
    if deleted:
        raise Problem(Code.CONVERSATION_NOT_FOUND)
    return deleted is None


async def _begin(held: Connections, workspace: str, conversation_id: UUID, at: datetime) -> None:
    """Remember a conversation that its id does not tell of: it may be deleted before its first answer is archived."""
    held.begun.note((workspace, conversation_id), at)
    try:
        await held.asked.begin(workspace, conversation_id, at)
    except Transient as error:
        log.warning("only this gateway knows of a conversation", dependency=error.dependency, cause=error.detail)


def routed(
    request: ChatRequest, intent: Intent | None, *, cached: bool, min_support: float | None = None
) -> ChatRequest:
    """Return the question with what its asker wishes of who answers it, and of the answer's support."""
    return request.model_copy(update={"intent": intent, "cached": cached, "min_support": min_support})


def ids_of(workspace: str, idempotency_key: str) -> tuple[UUID, UUID]:
    """Return the ids of the request made under a key, and of the conversation that it begins if it names none."""
    request_id = deterministic_id("chat.request", workspace, idempotency_key)
    return request_id, deterministic_id("conversation", str(request_id))


def expecting(held: Connections, request: ChatRequest, *, lasting: bool = False) -> Exchange:
    """Return the exchange of a question about to be put on the log; its replies are heard from now on.

    To be entered before anything else is waited for, since `reply_to` names the partition read at this moment, and
    closed by the caller.
    """
    stack = ExitStack()
    return Exchange(
        request.workspace,
        request.request_id,
        request.conversation_id,
        request.accepted_at,
        request.deadline,
        stack.enter_context(held.replies.expect(request.request_id, request.workspace)),
        lasting=lasting,
        stack=stack,
    )


async def put(held: Connections, request: ChatRequest, exchange: Exchange) -> None:
    """Put the question on the log, if its answer can begin in time.

    Raises Problem(OVERLOADED), and Transient("kafka") if the broker does not acknowledge it in time.
    """
    held.queue.admit(request)
    exchange.stack.enter_context(held.queue.entered(request))
    envelope = new_envelope(request, id=request.request_id, source=PRODUCER, trace=inject())
    await held.publisher.publish(CHAT_REQUESTS, request, envelope)


async def begin(held: Connections, request: ChatRequest, *, lasting: bool = False) -> Exchange:
    """Put the question on the log and return its exchange, which the caller closes. Raises as `put`."""
    exchange = expecting(held, request, lasting=lasting)
    try:
        await put(held, request, exchange)
    except BaseException:
        exchange.close()
        raise
    return exchange


async def ask(
    held: Connections,
    workspace: str,
    *,
    purpose: Purpose,
    messages: Sequence[ChatMessage],
    top_k: int = 5,
    filters: SearchFilters | None = None,
    group_size: int = 0,
    min_support: float | None = None,
) -> ChatReply:
    """Ask and return the final reply; with a `group_size` of 1 or more `top_k` counts documents.

    Raises Problem(OVERLOADED) if it would be answered too late, Problem(DEADLINE_PASSED) without an answer in time, a
    problem for a reply that is an error, and Transient("kafka") if the question cannot be put on the log.
    """
    request = await question(held, workspace, purpose=purpose, messages=messages, top_k=top_k, filters=filters)
    update: dict[str, object] = {"min_support": min_support}
    if group_size:
        update |= {"group_by": "document", "group_size": group_size}
    request = request.model_copy(update=update)
    exchange = await begin(held, request)
    try:
        return await exchange.end()
    finally:
        exchange.close()
