"""Writes the archive of conversations: the same rows in any order of arrival."""

from collections.abc import Sequence
from typing import TypeAlias

import asyncpg

from infra.postgres.columns import columns
from infra.postgres.pool import translated
from workers.archivist.rows import ConversationRow, InteractionRow

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

# The title is that of the earliest question. One statement folds the batch: `min`, `max`, and the first title by time.
# A row without times is known from a change only. A deleted one stays as it is, and is locked all the same.
_CONVERSATIONS = """
insert into conversations as held (workspace, conversation_id, title, created_at, asked_at, updated_at)
select workspace, conversation_id, (array_agg(title order by asked_at, title))[1], min(asked_at), max(asked_at),
       max(answered_at)
from unnest($1::text[], $2::uuid[], $3::text[], $4::timestamptz[], $5::timestamptz[])
  as t (workspace, conversation_id, title, asked_at, answered_at)
group by workspace, conversation_id
order by workspace, conversation_id
on conflict (workspace, conversation_id) do update set
    title = case when held.created_at is null or (excluded.created_at, excluded.title) < (held.created_at, held.title)
                 then excluded.title else held.title end,
    created_at = least(held.created_at, excluded.created_at),
    asked_at = greatest(held.asked_at, excluded.asked_at),
    updated_at = greatest(held.updated_at, excluded.updated_at)
where held.deleted_at is null
"""

# A request answered twice (its prompt was delivered again) keeps the answer that was given first. Of a deleted
# conversation nothing is kept, whenever it comes: the statement before has locked the row that says so.
_INTERACTIONS = """
insert into interactions as held (
    request_id, workspace, conversation_id, question, answer, citations, passages, abstained, index_id, model,
    served_by, prompt_tokens, completion_tokens, error, asked_at, answered_at, degraded, adapter, request_place,
    prompt_place, retrieved, parameters, parts)
select distinct on (request_id)
    request_id, workspace, conversation_id, question, answer, citations::jsonb, passages::uuid[], abstained, index_id,
    model, served_by, prompt_tokens, completion_tokens, error::jsonb, asked_at, answered_at, degraded, adapter,
    request_place, prompt_place, retrieved::jsonb, parameters::jsonb, parts::jsonb
from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::boolean[],
            $9::text[], $10::text[], $11::text[], $12::int[], $13::int[], $14::text[], $15::timestamptz[],
            $16::timestamptz[], $17::boolean[], $18::text[], $19::text[], $20::text[], $21::text[], $22::text[],
            $23::text[])
  as t (request_id, workspace, conversation_id, question, answer, citations, passages, abstained, index_id, model,
        served_by, prompt_tokens, completion_tokens, error, asked_at, answered_at, degraded, adapter, request_place,
        prompt_place, retrieved, parameters, parts)
where not exists (
    select from conversations c
    where c.workspace = t.workspace and c.conversation_id = t.conversation_id and c.deleted_at is not null)
order by request_id, answered_at, answer
on conflict (request_id) do update set
    question = excluded.question, answer = excluded.answer, citations = excluded.citations,
    passages = excluded.passages, abstained = excluded.abstained, index_id = excluded.index_id,
    model = excluded.model, served_by = excluded.served_by, prompt_tokens = excluded.prompt_tokens,
    completion_tokens = excluded.completion_tokens, error = excluded.error, asked_at = excluded.asked_at,
    answered_at = excluded.answered_at, degraded = excluded.degraded, adapter = excluded.adapter,
    request_place = excluded.request_place, prompt_place = excluded.prompt_place, retrieved = excluded.retrieved,
    parameters = excluded.parameters, parts = excluded.parts
where held.workspace = excluded.workspace and held.conversation_id = excluded.conversation_id
  and (excluded.answered_at, excluded.answer) < (held.answered_at, held.answer)
"""


@translated
async def write(pool: Pool, conversations: Sequence[ConversationRow], interactions: Sequence[InteractionRow]) -> None:
    """Write finished questions and answers and the conversations they belong to, in one transaction.

    Raises Transient, Permanent.
    """
    if not interactions:
        return
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(_CONVERSATIONS, *columns(conversations))
        await connection.execute(_INTERACTIONS, *columns(interactions))
