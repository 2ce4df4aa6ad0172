"""Asks a question over the log and waits for its answer."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal
from uuid import UUID, uuid4

from gateway.accepting import PRODUCER
from gateway.connections import Connections
from gateway.problems import Code, Problem
from infra.kafka.codec import new_envelope
from infra.telemetry.tracing import inject
from schemas.chat import ChatMessage, ChatReply, ChatRequest, Generation, ReplyError, SearchFilters
from schemas.event import now
from topics.catalogue import CHAT_REQUESTS

GRACE_S = 0.5
"""Waited beyond the deadline for the worker's own word that it passed, which says more than our silence."""

_STATUS = {
    "deadline_passed": Code.DEADLINE_PASSED,
    "backend_unavailable": Code.DEPENDENCY_UNAVAILABLE,
    "unknown_model": Code.MODEL_NOT_FOUND,
}
"""Codes of `ReplyError` that have a problem of their own; any other is `answer_failed`."""


async def ask(
    held: Connections,
    workspace: str,
    *,
    purpose: Literal["chat", "query", "search"],
    messages: Sequence[ChatMessage],
    top_k: int = 5,
    filters: SearchFilters | None = None,
    retrieve: bool = True,
    model: str = "",
    generation: Generation | None = None,
    conversation_id: UUID | None = None,
) -> ChatReply:
    """Publish the question and return its final reply.

    Raises Problem(DEADLINE_PASSED) without an answer in time, a problem for a reply that is an error, and
    Transient("kafka") if the question cannot be put on the log.
    """
    settings = held.settings
    patience = settings.search_timeout_s if purpose == "search" else settings.answer_timeout_s
    await held.replies.wait_ready(settings.publish_timeout_s)
    accepted_at = now()
    request = ChatRequest(
        workspace=workspace,
        request_id=uuid4(),
        conversation_id=conversation_id or uuid4(),
        messages=tuple(messages),
        model=model,
        retrieve=retrieve,
        top_k=top_k,
        filters=filters or SearchFilters(),
        generation=generation or Generation(),
        purpose=purpose,
        reply_to=held.replies.reply_to,
        accepted_at=accepted_at,
        deadline=accepted_at + timedelta(seconds=patience),
    )
    return await _answer(held, request, patience + GRACE_S)


async def _answer(held: Connections, request: ChatRequest, patience: float) -> ChatReply:
    envelope = new_envelope(request, id=request.request_id, source=PRODUCER, trace=inject())
    with held.replies.expect(request.request_id, request.workspace) as replies:
        await held.publisher.publish(CHAT_REQUESTS, request, envelope)
        try:
            async with asyncio.timeout(patience):
                async for reply in replies:
                    if reply.kind == "final":
                        return reply
                    if reply.kind == "error":
                        raise _failed(reply.error)
        except TimeoutError as error:
            raise Problem(Code.DEADLINE_PASSED) from error
    raise Problem(Code.ANSWER_FAILED, "the answer broke off", reply_code="broken_off")


def _failed(error: ReplyError | None) -> Problem:
    error = error or ReplyError(code="unknown", detail="the answer failed without a word")
    return Problem(_STATUS.get(error.code, Code.ANSWER_FAILED), error.detail, reply_code=error.code)
