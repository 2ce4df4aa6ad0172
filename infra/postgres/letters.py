"""Reads of the dead letters, as the ledger holds them. Marking them is the ledger's: publish a `LetterMark`.

A letter's row has no content: the whole record stands in the letters' topic, at the row's own coordinates.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg

from infra.postgres.pool import translated

LetterState = Literal["open", "redriven", "discarded"]

_COLUMNS = """letter_id, workspace, event_id, source, reason, detail, worker, attempts, topic, partition, "offset",
    letter_partition, letter_offset, first_at, last_at, state"""

# The source of the event behind a letter: letters of earlier releases hold their record's `ce_source` instead, and one
# whose body could not be read holds none.
_LETTERS = """(
    select d.letter_id, d.workspace, d.event_id, coalesce(e.source, d.source) as source, d.reason, d.detail, d.worker,
           d.attempts, d.topic, d.partition, d."offset", d.letter_partition, d.letter_offset, d.first_at, d.last_at,
           d.state
    from dead_letters d left join events e on e.event_id = d.event_id and e.workspace = d.workspace
) letters"""

_WANTED = """($1::text is null or workspace = $1) and ($2::text is null or state = $2)
  and ($3::text is null or topic = $3) and ($4::text is null or reason = $4) and ($5::text is null or source = $5)
  and ($6::timestamptz is null or last_at >= $6) and ($7::timestamptz is null or last_at < $7)
  and ($8::uuid[] is null or letter_id = any ($8))"""

_NEWEST = f"""
select {_COLUMNS} from {_LETTERS} where {_WANTED}
  and ($9::timestamptz is null or (last_at, letter_id) < ($9, $10))
order by last_at desc, letter_id desc limit $11
"""  # noqa: S608 - constants only

# By place, so that a bulk run reads the letters' topic from front to back.
_BY_PLACE = f"""
select {_COLUMNS} from {_LETTERS} where {_WANTED} and (letter_partition, letter_offset) > ($9, $10)
order by letter_partition, letter_offset limit $11
"""  # noqa: S608 - constants only

_COUNTS = f"""
select state, topic, reason, count(*) as letters from {_LETTERS} where {_WANTED}
group by state, topic, reason order by letters desc, topic, reason, state
"""  # noqa: S608 - constants only

_MARKS = """
select state, by, at from letter_marks where letter_id = $1 and workspace = $2 order by at, mark_id
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter without the record in it."""

    letter_id: UUID
    workspace: str
    event_id: UUID | None
    source: str
    reason: str
    detail: str
    worker: str
    attempts: int
    topic: str
    partition: int
    offset: int
    letter_partition: int
    letter_offset: int
    first_at: datetime
    last_at: datetime
    state: LetterState


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters; None means all. `since` and `until` speak of the last time that the record died."""

    workspace: str | None = None
    state: LetterState | None = None
    topic: str | None = None
    reason: str | None = None
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    ids: Sequence[UUID] | None = None

    @property
    def narrowed(self) -> bool:
        """Whether anything but the state narrows the choice: without it a command means every letter there is."""
        return any((self.workspace, self.topic, self.reason, self.source, self.since, self.until, self.ids))

    def parameters(self) -> tuple[Any, ...]:
        """Return the first eight parameters of every statement here."""
        ids = None if self.ids is None else list(self.ids)
        return (self.workspace, self.state, self.topic, self.reason, self.source, self.since, self.until, ids)


@dataclass(frozen=True, slots=True)
class Count:
    """How many letters of one state, topic and reason there are."""

    state: LetterState
    topic: str
    reason: str
    letters: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Something done about a letter."""

    state: LetterState
    by: str
    at: datetime


@translated
async def list_letters(
    pool: "asyncpg.Pool[asyncpg.Record]", wanted: Wanted, *, after: tuple[datetime, UUID] | None = None, limit: int = 50
) -> list[Letter]:
    """Return up to `limit` letters, the latest death first, those behind `after` (last_at, id). Raises Transient."""
    rows = await pool.fetch(_NEWEST, *wanted.parameters(), *(after or (None, None)), limit)
    return [Letter(**row) for row in rows]


async def pages_by_place(
    pool: "asyncpg.Pool[asyncpg.Record]", wanted: Wanted, size: int = 500
) -> AsyncIterator[list[Letter]]:
    """Yield all letters in the order of their places in the letters' topic, `size` at a time. Raises Transient."""
    after = (-1, -1)
    while page := await _page(pool, wanted, after, size):
        yield page
        after = (page[-1].letter_partition, page[-1].letter_offset)


@translated
async def _page(
    pool: "asyncpg.Pool[asyncpg.Record]", wanted: Wanted, after: tuple[int, int], size: int
) -> list[Letter]:
    return [Letter(**row) for row in await pool.fetch(_BY_PLACE, *wanted.parameters(), *after, size)]


@translated
async def count_letters(pool: "asyncpg.Pool[asyncpg.Record]", wanted: Wanted) -> list[Count]:
    """Return how many letters there are by state, topic and reason, most first. Raises Transient."""
    return [Count(**row) for row in await pool.fetch(_COUNTS, *wanted.parameters())]


async def find_letter(
    pool: "asyncpg.Pool[asyncpg.Record]", letter_id: UUID, workspace: str | None = None
) -> Letter | None:
    """Return a letter, None if there is none (in `workspace`, where one is given). Raises Transient."""
    found = await list_letters(pool, Wanted(workspace=workspace, ids=[letter_id]), limit=1)
    return found[0] if found else None


@translated
async def marks_of(pool: "asyncpg.Pool[asyncpg.Record]", letter: Letter) -> list[Mark]:
    """Return what was done about a letter so far, oldest first. Raises Transient."""
    return [Mark(**row) for row in await pool.fetch(_MARKS, letter.letter_id, letter.workspace)]
