"""Reads of conversations, as the archivist keeps them; every read filters by workspace."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from infra.postgres.columns import storable
from infra.postgres.pool import translated
from schemas.chat import ChatMessage

CONSUMER = "archivist"
"""Under this name the inbox holds the changes that were applied, and receipts say who has deleted."""

_SHOWN = """
select c.conversation_id, coalesce(c.name, c.title) as title, c.created_at, c.updated_at, c.archived,
    (select 2 * count(*) from interactions i
     where i.workspace = c.workspace and i.conversation_id = c.conversation_id) as messages
"""
_PRESENT = "c.workspace = $1 and c.deleted_at is null and c.created_at is not null"
_PAGE = f"""
{_SHOWN}, null::text as snippet from conversations c
where {_PRESENT} and c.archived = $2
  and ($3::timestamptz is null or (c.updated_at, c.conversation_id) < ($3, $4::uuid))
order by c.updated_at desc, c.conversation_id desc limit $5
"""

BEGINNING = 5
"""Letters from which on a word also stands for those that begin with it: endings of languages without a stemmer."""

# The hit that is shown is the best of the conversation, the newest of equals; of one found by its title alone, its
# title is the hit. Headlines are made for one page only: they read the text again. Where the hit is none for the
# parser that headlines are made with (pairs of letters, accents), the text around the place of its first word is shown.
_FOUND = f"""
with wanted as (
    select regexp_replace(websearch_to_tsquery('simple', $6)::text,
                          '''([^'']{{{BEGINNING},}})''', '''\\1'':*', 'g')::tsquery
        || websearch_to_tsquery('english', $6) as query)
{_SHOWN}, (
    select case
        when to_tsvector('simple', hit.said) || to_tsvector('english', hit.said) @@ query
        then ts_headline('english', hit.said, query, 'StartSel="", StopSel="", MaxWords=30, MinWords=12')
        else substring(hit.said from greatest(1, position($7 in search_folded(hit.said)) - 60)::int for 180) end
    from (select left(case when search_words(i.question) @@ query then i.question else i.answer end, 32000) as said
          from interactions i
          where i.workspace = c.workspace and i.conversation_id = c.conversation_id and i.words @@ query
          order by ts_rank(i.words, query) desc, i.asked_at desc, i.request_id limit 1) hit
) as snippet
from conversations c, wanted
where {_PRESENT} and c.archived = $2
  and ($3::timestamptz is null or (c.updated_at, c.conversation_id) < ($3, $4::uuid))
  and (c.words @@ query or c.conversation_id in (
      select i.conversation_id from interactions i where i.workspace = $1 and i.words @@ query))
order by c.updated_at desc, c.conversation_id desc limit $5
"""  # noqa: S608 - made of the constants above
_ONE = f"{_SHOWN}, null::text as snippet from conversations c where {_PRESENT} and c.conversation_id = $2"


_ACCENTS = re.compile("[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670]")
_STROKES = str.maketrans(dict(zip("øØđĐłŁħĦı", "oOdDlLhHi", strict=True)) | {"ß": "ss", "æ": "ae", "œ": "oe"})
_LETTERS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
_PART = re.compile(f'"|[{_LETTERS}]+')
_WORDS = re.compile(r"\w+")


def folded(text: str) -> str:
    """Return `text` as function `search_folded` of the database has it: no accents, small letters, one spelling."""
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFKC", bare).translate(_STROKES).lower()


def paired(query: str) -> str:
    """Return a search with each run of letters that function `search_paired` pairs as a phrase of its pairs."""
    quoted = False

    def part(match: re.Match[str]) -> str:
        nonlocal quoted
        run = match.group()
        if run == '"':
            quoted = not quoted
            return run
        pairs = " ".join(run[at : at + 2] for at in range(max(1, len(run) - 1)))
        return f" {pairs} " if quoted else f'"{pairs}" '

    return _PART.sub(part, query)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation that somebody may read. `messages` counts questions and answers."""

    conversation_id: UUID
    title: str
    created_at: datetime
    updated_at: datetime
    archived: bool
    messages: int
    snippet: str | None
    """Of a search: text around the best hit; None where only the title was hit."""


@translated
async def list_conversations(
    pool: "asyncpg.Pool[asyncpg.Record]",
    workspace: str,
    *,
    query: str = "",
    archived: bool = False,
    after: tuple[datetime, UUID] | None = None,
    limit: int,
) -> list[Conversation]:
    """Return conversations, the one with the newest answer first, from behind `after` on.

    `query` is what `websearch_to_tsquery` takes (words, "a phrase", or, -not); words of one message or of the title
    must match together, whatever their accents and case. One without a word that counts finds nothing.

    Raises Transient.
    """
    given: Sequence[Any] = (workspace, archived, *(after or (None, None)), limit)
    if not query:
        return [Conversation(**row) for row in await pool.fetch(_PAGE, *given)]
    wanted = paired(folded(storable(query)))
    first = next(iter(_WORDS.findall(folded(query))), "")
    rows = await pool.fetch(_FOUND, *given, wanted, first)
    return [Conversation(**row) for row in rows]


@translated
async def find_conversation(
    pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, conversation_id: UUID
) -> Conversation | None:
    """Return a conversation of `workspace`; None if there is none or no longer. Raises Transient."""
    row = await pool.fetchrow(_ONE, workspace, conversation_id)
    return Conversation(**row) if row else None


@translated
async def is_deleted(pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, conversation_id: UUID) -> bool | None:
    """Say whether `workspace` had a conversation of that id and deleted it; None if it has had none so far.

    Raises Transient.
    """
    deleted: bool | None = await pool.fetchval(
        "select deleted_at is not null from conversations where workspace = $1 and conversation_id = $2",
        workspace,
        conversation_id,
    )
    return deleted


@translated
async def is_applied(pool: "asyncpg.Pool[asyncpg.Record]", change_id: UUID) -> bool:
    """Say whether the archivist has applied a change. Raises Transient."""
    return bool(
        await pool.fetchval("select true from inbox where consumer = $1 and event_id = $2", CONSUMER, change_id)
    )


@translated
async def history(
    pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, conversation_id: UUID, turns: int, characters: int
) -> list[ChatMessage]:
    """Return the last `turns` questions with their answers, oldest first, of `characters` together at the most.

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
    room = characters
    for row in rows:
        room -= len(row["question"]) + len(row["answer"])
        if room < 0:
            break
        messages[:0] = [
            ChatMessage(role="user", content=row["question"]),
            ChatMessage(role="assistant", content=row["answer"]),
        ]
    return messages
