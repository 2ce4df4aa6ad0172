"""Replies that end at the retriever."""

from schemas.chat import ChatMessage, ChatReply, ChatRequest, Embeddings, Passage, ReplyError, Usage
from schemas.embedding import EmbeddingRequest
from schemas.envelope import Origin
from schemas.event import now
from schemas.interactions import Interaction, Parameters
from workers.retriever.question import read_question

CANCELLED = "cancelled"
CONTEXT_EXCEEDED = "context_length_exceeded"
DEADLINE_PASSED = "deadline_passed"
SEARCH_REFUSED = "search_refused"
TEXT_REFUSED = "text_refused"
UNKNOWN_MODEL = "unknown_model"
SERVED_BY = "retriever"


def passages_for(request: ChatRequest, passages: tuple[Passage, ...]) -> ChatReply:
    """Return the reply to a search."""
    return _ending(request).model_copy(update={"passages": passages, "finish_reason": "stop"})


def vectors_for(request: EmbeddingRequest, embeddings: Embeddings, tokens: int) -> ChatReply:
    """Return the reply to an embedding request."""
    told = {"embeddings": embeddings, "model": embeddings.model, "usage": Usage(prompt_tokens=tokens)}
    return _ending(request).model_copy(update=told)


def failure(request: ChatRequest | EmbeddingRequest, code: str, detail: str) -> ChatReply:
    """Return an error reply: `code` is stable, `detail` a sentence for people."""
    return _ending(request).model_copy(update={"kind": "error", "error": ReplyError(code=code, detail=detail)})


def unanswered(request: ChatRequest, reply: ChatReply, request_at: Origin) -> Interaction:
    """Return what history keeps of a question that ends here with `reply`, an error: asked it was."""
    return Interaction(
        workspace=request.workspace,
        request_id=request.request_id,
        conversation_id=request.conversation_id,
        question=ChatMessage(role="user", content=read_question(request.messages).asked),
        answer="",
        served_by=reply.served_by,
        error=reply.error,
        asked_at=request.accepted_at,
        answered_at=now(),
        request_at=str(request_at),
        parameters=Parameters.of(request),
    )


def _ending(request: ChatRequest | EmbeddingRequest) -> ChatReply:
    return ChatReply(
        workspace=request.workspace,
        request_id=request.request_id,
        # An embedding request is no part of a conversation, and a reply needs the field.
        conversation_id=request.conversation_id if isinstance(request, ChatRequest) else request.request_id,
        gateway=request.reply_to.gateway,
        sequence=0,
        kind="final",
        served_by=SERVED_BY,
    )
