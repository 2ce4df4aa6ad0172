"""Builds the reply and the interaction from an outcome."""

from schemas.chat import ChatMessage, ChatPrompt, ChatReply, Passage, ReplyError
from schemas.envelope import Origin
from schemas.event import now
from schemas.ids import point_id
from schemas.interactions import Interaction, Parameters, UsedChunk
from workers.inference.backends.backend import Answer
from workers.inference.outcome import Outcome


def delta_of(prompt: ChatPrompt, sequence: int, text: str) -> ChatReply:
    """Return a piece of the answer."""
    request = prompt.request
    return ChatReply(
        workspace=request.workspace,
        request_id=request.request_id,
        conversation_id=request.conversation_id,
        gateway=request.reply_to.gateway,
        sequence=sequence,
        kind="delta",
        text=text,
    )


def reply_of(prompt: ChatPrompt, outcome: Outcome, sequence: int = 0) -> ChatReply:
    """Return the one reply that ends the request; `sequence` is how many deltas went before."""
    request = prompt.request
    common = ChatReply(
        workspace=request.workspace,
        request_id=request.request_id,
        conversation_id=request.conversation_id,
        gateway=request.reply_to.gateway,
        sequence=sequence,
        kind="final",
        passages=prompt.passages,
        model=outcome.model,
        served_by=outcome.served_by,
        degraded=outcome.degraded,
        shortened=prompt.parts is not None and (prompt.parts.cut_question or prompt.parts.cut_results > 0),
        intent=outcome.intent,
    )
    match outcome.result:
        case ReplyError() as error:
            return common.model_copy(update={"kind": "error", "error": error})
        case Answer() as answer:
            return common.model_copy(
                update={
                    "text": answer.text,
                    "tool_calls": answer.tool_calls,
                    "citations": answer.citations,
                    "abstained": answer.abstained,
                    "support": answer.support,
                    "usage": answer.usage,
                    "finish_reason": answer.finish_reason,
                }
            )


def interaction_of(prompt: ChatPrompt, reply: ChatReply, outcome: Outcome, prompt_at: Origin) -> Interaction:
    """Return what history and learning keep of a finished question, so that its answer can be explained."""
    request = prompt.request
    return Interaction(
        workspace=request.workspace,
        request_id=request.request_id,
        conversation_id=request.conversation_id,
        question=ChatMessage(role="user", content=prompt.question),
        answer=reply.text,
        tool_calls=reply.tool_calls,
        citations=reply.citations,
        passages=tuple(dict.fromkeys(passage.document_id for passage in prompt.passages)),
        abstained=reply.abstained,
        index_id=prompt.index_id,
        model=reply.model,
        served_by=reply.served_by,
        degraded=reply.degraded,
        intent=reply.intent,
        usage=reply.usage,
        error=reply.error,
        asked_at=request.accepted_at,
        answered_at=now(),
        request_at=prompt.request_at,
        prompt_at=str(prompt_at),
        chunks=tuple(_used(request.workspace, passage) for passage in prompt.passages),
        parts=prompt.parts,
        parameters=Parameters.of(request),
        adapter=outcome.result.adapter if isinstance(outcome.result, Answer) else "",
    )


def _used(workspace: str, passage: Passage) -> UsedChunk:
    known = passage.model_dump(include=set(UsedChunk.model_fields))
    chunk_id = point_id(workspace, passage.document_id, str(passage.ordinal))
    return UsedChunk(chunk_id=chunk_id, **known)
