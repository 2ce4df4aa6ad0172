"""Writes the ledger's tables: one statement for a whole batch, one transaction, the same rows in any order of arrival.

Each statement folds the batch itself (`distinct on`, by the rule of its `where`) and thereby takes its row locks in
the order of the key: two batches cannot wait for each other in a circle. What the columns mean: docs/ledger.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg

from infra.postgres.columns import columns
from infra.postgres.pool import translated
from workers.ledger.rows import DocumentRow, EventRow, LetterRow, MarkRow, NormalisedRow, ReceiptRow

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

# A sender's redelivery has the same event id: the first acceptance counts.
_EVENTS = """
insert into events as held (
    event_id, workspace, source, connector, delivery, subject, operation, accepted_at, raw_partition, raw_offset)
select distinct on (event_id) *
from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[],
            $9::int[], $10::bigint[])
  as t (event_id, workspace, source, connector, delivery, subject, operation, accepted_at, raw_partition, raw_offset)
order by event_id, accepted_at, raw_partition, raw_offset
on conflict (event_id) do update set
    source = excluded.source, connector = excluded.connector, delivery = excluded.delivery,
    subject = excluded.subject, operation = excluded.operation, accepted_at = excluded.accepted_at,
    raw_partition = excluded.raw_partition, raw_offset = excluded.raw_offset
where held.workspace = excluded.workspace
  and (held.accepted_at is null
       or (excluded.accepted_at, excluded.raw_partition, excluded.raw_offset)
          < (held.accepted_at, held.raw_partition, held.raw_offset))
"""

# Before its raw event has been read an event has an empty connector and delivery, and no accepted_at.
_NORMALISED = """
insert into events as held (
    event_id, workspace, source, connector, delivery, outcome, documents, superseded, normalised_at, detail)
select distinct on (event_id)
    event_id, workspace, source, '', '', outcome, documents::uuid[], superseded::uuid[], normalised_at, detail
from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::text[])
  as t (event_id, workspace, source, outcome, documents, superseded, normalised_at, detail)
order by event_id, normalised_at desc, outcome, documents, superseded, detail
on conflict (event_id) do update set
    outcome = excluded.outcome, documents = excluded.documents, superseded = excluded.superseded,
    normalised_at = excluded.normalised_at, detail = excluded.detail
where held.workspace = excluded.workspace
  and (held.normalised_at is null or held.normalised_at <= excluded.normalised_at)
"""

# `applied` is not taken back by the `stale` of a redelivery; of equals the first counts: that is when it became true.
_RECEIPTS = """
with written as (
    insert into receipts as held (
        event_id, document_id, sink, workspace, source, version, operation, outcome, parts, at)
    select distinct on (event_id, document_id, sink) *
    from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[],
                $9::int[], $10::timestamptz[])
      as t (event_id, document_id, sink, workspace, source, version, operation, outcome, parts, at)
    order by event_id, document_id, sink, version desc, outcome <> 'applied', at
    on conflict (event_id, document_id, sink) do update set
        version = excluded.version, operation = excluded.operation, outcome = excluded.outcome,
        parts = excluded.parts, at = excluded.at
    where held.workspace = excluded.workspace
      and (-excluded.version, excluded.outcome <> 'applied', excluded.at)
          < (-held.version, held.outcome <> 'applied', held.at)
    returning event_id, sink, operation, outcome, at, xmax = 0 as inserted
)
select events.connector, extract(epoch from written.at - events.accepted_at)::float8 as seconds
from written
join indexes on indexes.state = 'live' and written.sink = 'embedder/' || indexes.index_id
join events on events.event_id = written.event_id and events.accepted_at is not null
where written.inserted and written.outcome = 'applied' and written.operation = 'upsert'
"""

_DOCUMENTS = """
insert into documents as held (
    document_id, workspace, source, connector, external_id, event_id, version, deleted, kind, title, url, language,
    text, chunks, authors, metadata, created_at, updated_at, received_at)
select distinct on (document_id)
    document_id, workspace, source, connector, external_id, event_id, version, deleted, kind, title, url, language,
    text, chunks, authors::jsonb, metadata::jsonb, created_at, updated_at, received_at
from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::bigint[], $8::boolean[],
            $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::int[], $15::text[], $16::text[],
            $17::timestamptz[], $18::timestamptz[], $19::timestamptz[])
  with ordinality
  as t (document_id, workspace, source, connector, external_id, event_id, version, deleted, kind, title, url, language,
        text, chunks, authors, metadata, created_at, updated_at, received_at, position)
order by document_id, version desc, deleted desc, position desc
on conflict (document_id) do update set
    source = excluded.source, connector = excluded.connector, external_id = excluded.external_id,
    event_id = excluded.event_id, version = excluded.version, deleted = excluded.deleted, kind = excluded.kind,
    title = excluded.title, url = excluded.url, language = excluded.language, text = excluded.text,
    chunks = excluded.chunks, authors = excluded.authors, metadata = excluded.metadata,
    created_at = excluded.created_at, updated_at = excluded.updated_at, received_at = excluded.received_at
where held.workspace = excluded.workspace and (held.version, held.deleted) <= (excluded.version, excluded.deleted)
"""

# The mark of the letter at given coordinates: the last one counts.
_MARKED = """coalesce((
    select m.state from letter_marks m
    where m.letter_id = {0}.letter_id and m.workspace = {0}.workspace
      and (m.letter_partition, m.letter_offset) = ({0}.letter_partition, {0}.letter_offset)
    order by m.at desc, m.mark_id limit 1), 'open')"""

# A letter that comes again later (its redriven record died once more) stands at other coordinates, of which no mark
# speaks yet: it is open again, whatever was decided before.
_LETTERS = f"""
insert into dead_letters as held (
    letter_id, workspace, event_id, source, reason, detail, worker, attempts, topic, partition, "offset",
    letter_partition, letter_offset, first_at, last_at, state)
select distinct on (letter_id) t.*, {_MARKED.format("t")}
from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int[],
            $9::text[], $10::int[], $11::bigint[], $12::int[], $13::bigint[], $14::timestamptz[], $15::timestamptz[])
  as t (letter_id, workspace, event_id, source, reason, detail, worker, attempts, topic, partition, "offset",
        letter_partition, letter_offset, first_at, last_at)
order by letter_id, last_at desc, letter_partition, letter_offset
on conflict (letter_id) do update set
    event_id = excluded.event_id, source = excluded.source, reason = excluded.reason, detail = excluded.detail,
    attempts = excluded.attempts, letter_partition = excluded.letter_partition,
    letter_offset = excluded.letter_offset, first_at = least(held.first_at, excluded.first_at),
    last_at = excluded.last_at, state = excluded.state
where held.workspace = excluded.workspace and held.last_at < excluded.last_at
"""  # noqa: S608 - constants only

# Letters and marks are read from different topics at once. Whoever writes one must see the other's, so they take turns.
_TAKE_TURNS = "lock table letter_marks in share row exclusive mode"

_MARKS = """
insert into letter_marks (mark_id, letter_id, workspace, state, letter_partition, letter_offset, by, at)
select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::int[], $6::bigint[], $7::text[],
                     $8::timestamptz[])
on conflict (mark_id) do nothing
"""
_APPLY_MARKS = f"""
update dead_letters d set state = {_MARKED.format("d")} where letter_id = any ($1::uuid[])
"""  # noqa: S608 - constants only


@dataclass(frozen=True, slots=True)
class Searchable:
    """A document version that has just become searchable in the live index."""

    connector: str
    seconds: float
    """Since its event was accepted."""


@translated
async def write_events(pool: Pool, rows: Sequence[EventRow]) -> None:
    """Write accepted events. Raises Transient, Permanent."""
    if rows:
        await pool.execute(_EVENTS, *columns(rows))


@translated
async def write_documents(pool: Pool, rows: Sequence[DocumentRow]) -> None:
    """Write the newest version of each document. Raises Transient, Permanent."""
    if rows:
        await pool.execute(_DOCUMENTS, *columns(rows))


@translated
async def write_letters(pool: Pool, rows: Sequence[LetterRow]) -> None:
    """Write dead letters. Raises Transient, Permanent."""
    if not rows:
        return
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(_TAKE_TURNS)
        await connection.execute(_LETTERS, *columns(rows))


@translated
async def write_marks(pool: Pool, rows: Sequence[MarkRow]) -> None:
    """Write what was done with dead letters, now or when the letter itself comes. Raises Transient, Permanent."""
    if not rows:
        return
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(_TAKE_TURNS)
        await connection.execute(_MARKS, *columns(rows))
        await connection.execute(_APPLY_MARKS, [row.letter_id for row in rows])


@translated
async def write_receipts(
    pool: Pool, normalised: Sequence[NormalisedRow], receipts: Sequence[ReceiptRow]
) -> list[Searchable]:
    """Write what the normalizer and the sinks did, in one transaction; return what became searchable by it.

    A redelivered receipt is not returned again, nor one whose raw event is not known yet. Raises Transient, Permanent.
    """
    found: list[Any] = []
    async with pool.acquire() as connection, connection.transaction():
        if normalised:
            await connection.execute(_NORMALISED, *columns(normalised))
        if receipts:
            found = await connection.fetch(_RECEIPTS, *columns(receipts))
    return [Searchable(row["connector"], row["seconds"]) for row in found]
