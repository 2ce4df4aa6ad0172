"""Replies that end at the retriever."""

from schemas.chat import ChatReply, ChatRequest, Passage, ReplyError

DEADLINE_PASSED = "deadline_passed"
SEARCH_REFUSED = "search_refused"
SERVED_BY = "retriever"


def passages_for(request: ChatRequest, passages: tuple[Passage, ...]) -> ChatReply:
    """Return the reply to a search."""
    return _ending(request).model_copy(update={"passages": passages, "finish_reason": "stop"})


def failure(request: ChatRequest, code: str, detail: str) -> ChatReply:
    """Return an error reply: `code` is stable, `detail` a sentence for people."""
    return _ending(request).model_copy(update={"kind": "error", "error": ReplyError(code=code, detail=detail)})


def _ending(request: ChatRequest) -> ChatReply:
    return ChatReply(
        workspace=request.workspace,
        request_id=request.request_id,
        conversation_id=request.conversation_id,
        gateway=request.reply_to.gateway,
        sequence=0,
        kind="final",
        served_by=SERVED_BY,
    )
