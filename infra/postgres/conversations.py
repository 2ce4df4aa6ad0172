"""Reads of finished conversations, as the archivist keeps them; every read filters by workspace."""

from uuid import UUID

import asyncpg

from infra.postgres.pool import translated
from schemas.chat import ChatMessage

MAX_CHARACTERS = 12_000
"""Question and answer text carried along: about 3,000 tokens, which leaves a small model room for its sources."""


@translated
async def history(
    pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, conversation_id: UUID, turns: int
) -> list[ChatMessage]:
    """Return the last `turns` questions with their answers, oldest first, within `MAX_CHARACTERS`.

    A conversation of another workspace reads as an empty one. Raises Transient.
    """
    rows = await pool.fetch(
        """select question, answer from interactions
           where workspace = $1 and conversation_id = $2 and error is null
           order by asked_at desc, request_id limit $3""",
        workspace,
        conversation_id,
        turns,
    )
    messages: list[ChatMessage] = []
    room = MAX_CHARACTERS
    for row in rows:
        room -= len(row["question"]) + len(row["answer"])
        if room < 0:
            break
        messages[:0] = [
            ChatMessage(role="user", content=row["question"]),
            ChatMessage(role="assistant", content=row["answer"]),
        ]
    return messages
