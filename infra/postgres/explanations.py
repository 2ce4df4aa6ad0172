"""Reads what an answer was made of, as the archivist keeps it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from infra.postgres.pool import translated

_EXPLANATION = """
select request_id, workspace, conversation_id, question, answer, citations, abstained, degraded, index_id, model,
       adapter, served_by, prompt_tokens, completion_tokens, error, asked_at, answered_at, request_place, prompt_place,
       retrieved, parameters, parts
from interactions where request_id = $1 and ($2::text is null or workspace = $2)
"""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A question, its answer, and everything needed to make it again.

    `request_place` and `prompt_place` are `topic:partition:offset`; empty, as are `retrieved`, `parameters` and
    `parts`, for answers from before these were kept.
    """

    request_id: UUID
    workspace: str
    conversation_id: UUID
    question: str
    answer: str
    citations: list[dict[str, Any]]
    abstained: bool
    degraded: bool
    index_id: str
    model: str
    adapter: str
    served_by: str
    prompt_tokens: int
    completion_tokens: int
    error: dict[str, str] | None
    asked_at: datetime
    answered_at: datetime
    request_place: str
    prompt_place: str
    retrieved: list[dict[str, Any]]
    parameters: dict[str, Any]
    parts: dict[str, Any]


@translated
async def explanation_of(
    pool: "asyncpg.Pool[asyncpg.Record]", request_id: UUID, workspace: str | None
) -> Explanation | None:
    """Return what is kept of an answer of `workspace` (None: of any, for operators). Raises Transient."""
    row = await pool.fetchrow(_EXPLANATION, request_id, workspace)
    return Explanation(**row) if row else None
