"""Reads of single finished answers, as the archivist keeps them; every read filters by workspace."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from infra.postgres.pool import translated
from schemas.chat import ChatReply


@dataclass(frozen=True, slots=True)
class Finished:
    """A question, and the reply that ended it; passages, support and finish reason are not archived."""

    question: str
    reply: ChatReply
    asked_at: datetime


@translated
async def finished(pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, request_id: UUID) -> Finished | None:
    """Return what became of a request of `workspace`, None if the archive does not have it. Raises Transient."""
    row = await pool.fetchrow(
        """select question, conversation_id, answer, citations, abstained, model, served_by, prompt_tokens,
                  completion_tokens, error, asked_at
           from interactions where workspace = $1 and request_id = $2""",
        workspace,
        request_id,
    )
    if row is None:
        return None
    reply = {
        "workspace": workspace,
        "request_id": request_id,
        "conversation_id": row["conversation_id"],
        "gateway": "",
        "sequence": 0,
        "kind": "error" if row["error"] else "final",
        "text": row["answer"],
        "citations": row["citations"],
        "abstained": row["abstained"],
        "model": row["model"],
        "served_by": row["served_by"],
        "usage": {"prompt_tokens": row["prompt_tokens"], "completion_tokens": row["completion_tokens"]},
        "error": row["error"],
    }
    return Finished(row["question"], ChatReply.model_validate(reply), row["asked_at"])
