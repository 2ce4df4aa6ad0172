"""Reads what led to an answer; every read filters by workspace."""

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from infra.postgres.pool import translated
from schemas.chat import ChatMessage


@dataclass(frozen=True, slots=True)
class Turns:
    """A conversation up to one of its answers, and with it."""

    conversation_id: UUID
    messages: tuple[ChatMessage, ...]
    """Questions and answers, oldest first."""


@translated
async def turns_until(
    pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, request_id: UUID, turns: int, characters: int
) -> Turns | None:
    """Return the last `turns` questions with their answers up to a request's, within `characters` of text.

    None if the archive has no good answer to such a request of `workspace`. Raises Transient.
    """
    rows = await pool.fetch(
        """select earlier.conversation_id, earlier.question, earlier.answer
           from interactions named join interactions earlier using (workspace, conversation_id)
           where workspace = $1 and named.request_id = $2 and named.error is null
             and earlier.error is null and earlier.asked_at <= named.asked_at
           order by earlier.asked_at desc, earlier.request_id = $2 desc, earlier.request_id limit $3""",
        workspace,
        request_id,
        max(1, turns),
    )
    if not rows:
        return None
    messages: list[ChatMessage] = []
    room = characters
    for row in rows[:turns]:
        room -= len(row["question"]) + len(row["answer"])
        if room < 0:
            break
        messages[:0] = [
            ChatMessage(role="user", content=row["question"]),
            ChatMessage(role="assistant", content=row["answer"]),
        ]
    return Turns(rows[0]["conversation_id"], tuple(messages))
