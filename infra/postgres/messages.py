"""Reads of what was said in a conversation, as the archivist keeps it; every read filters by workspace."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg

from infra.postgres.pool import translated
from schemas.ids import deterministic_id

# An interaction is two messages: part 0 is the question, part 1 the answer.
_MESSAGES = """
select i.request_id, part, case part when 0 then i.question else i.answer end as content,
    case part when 0 then '[]'::jsonb else i.citations end as citations,
    case part when 0 then '' else i.model end as model, case part when 0 then '' else i.served_by end as served_by,
    case part when 0 then i.asked_at else i.answered_at end as created_at,
    case part when 1 then i.error end as error, case part when 1 then f.rating end as rating, i.asked_at
from interactions i cross join (values (0), (1)) as parts (part)
left join feedback f on f.workspace = i.workspace and f.request_id = i.request_id
where i.workspace = $1 and i.conversation_id = $2
  and ($3::timestamptz is null or (i.asked_at, i.request_id, part) > ($3, $4::uuid, $5::int))
order by i.asked_at, i.request_id, part limit $6
"""
Place = tuple[datetime, UUID, int]
"""Where a message stands: when its question was asked, its request, 0 for the question and 1 for the answer."""


@dataclass(frozen=True, slots=True)
class Message:
    """A question or an answer."""

    message_id: UUID
    request_id: UUID
    role: Literal["user", "assistant"]
    content: str
    citations: list[dict[str, Any]]
    model: str
    served_by: str
    created_at: datetime
    error: dict[str, str] | None
    """Why there is no answer."""
    rating: Literal["up", "down"] | None
    """What was last thought of the answer."""
    place: Place


@translated
async def list_messages(
    pool: "asyncpg.Pool[asyncpg.Record]",
    workspace: str,
    conversation_id: UUID,
    *,
    after: Place | None = None,
    limit: int,
) -> list[Message]:
    """Return messages, oldest first, from behind `after` on. Raises Transient."""
    rows = await pool.fetch(_MESSAGES, workspace, conversation_id, *(after or (None, None, None)), limit)
    return [_message(row) for row in rows]


def _message(row: Any) -> Message:
    role: Literal["user", "assistant"] = "assistant" if row["part"] else "user"
    return Message(
        message_id=deterministic_id("message", str(row["request_id"]), role),
        request_id=row["request_id"],
        role=role,
        content=row["content"],
        citations=row["citations"],
        model=row["model"],
        served_by=row["served_by"],
        created_at=row["created_at"],
        error=row["error"],
        rating=row["rating"],
        place=(row["asked_at"], row["request_id"], row["part"]),
    )
