"""Where events stand, read from the ledger's tables; every read filters by workspace.

An event is `embedded` when every document it became has the receipt of the live index's embedder, `graphed` when every
one has the graph builder's. It is complete when both hold or when it was no document, and dead-lettered when a letter
about it is open or discarded and it is not complete (a redriven one is on its way again). What is neither is pending.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg

from infra.postgres.pool import translated

EventState = Literal["accepted", "normalised", "searchable", "complete", "not_a_document", "dead_lettered"]

GRAPH_SINK = "graph_builder"

_LIVE_SINK = "(select 'embedder/' || index_id from indexes where state = 'live')"

# One pass over the workspace's events and one over its receipts, joined by hash: the receipts are counted per event
# before the join, so no row is looked up one by one. A receipt counts only for a document that the event became.
_VERDICTS = f"""
with counted as (
    select e.source, e.outcome, cardinality(e.documents) as documents, e.event_id,
           count(r.sink) filter (where r.sink <> '{GRAPH_SINK}') as embedded,
           count(r.sink) filter (where r.sink = '{GRAPH_SINK}') as graphed
    from events e
    left join receipts r on r.event_id = e.event_id and r.workspace = e.workspace
        and r.document_id = any (e.documents) and r.sink in ({_LIVE_SINK}, '{GRAPH_SINK}')
    where e.workspace = $1 and ($2::text is null or e.source = $2)
    group by e.event_id
), judged as (
    select event_id, source, outcome, outcome = 'documents' and embedded >= documents as embedded,
           outcome = 'documents' and graphed >= documents as graphed,
           exists (select from dead_letters d
                   where d.event_id = counted.event_id and d.workspace = $1 and d.state <> 'redriven') as letter
    from counted
), verdicts as (
    select *, coalesce(outcome = 'not_a_document' or (embedded and graphed), false) as complete from judged
)
"""  # noqa: S608 - constants only

_COMPLETENESS = f"""
{_VERDICTS}
select source, count(*) as fetched,
       count(*) filter (where outcome = 'documents') as normalised,
       count(*) filter (where embedded) as embedded,
       count(*) filter (where graphed) as graphed,
       count(*) filter (where letter and not complete) as dead_lettered,
       count(*) filter (where outcome = 'not_a_document') as not_a_document,
       count(*) filter (where not complete and not letter) as pending
from verdicts group by source
"""  # noqa: S608 - constants only

# Each event under one reason, that of the last letter that counts, so that the reasons add up to `dead_lettered`.
_REASONS = f"""
{_VERDICTS}
select d.reason, d.state, count(*) as events
from verdicts join lateral (
    select reason, state from dead_letters
    where event_id = verdicts.event_id and workspace = $1 and state <> 'redriven'
    order by last_at desc, letter_id limit 1) d on true
where letter and not complete
group by d.reason, d.state order by events desc, d.reason, d.state
"""  # noqa: S608 - constants only

_EVENT = """
select event_id, source, connector, accepted_at, outcome, documents, normalised_at, detail
from events where event_id = $1 and workspace = $2
"""

_RECEIPTS = f"""
select document_id, max(version) as version, max(operation) as operation,
       max(at) filter (where sink = {_LIVE_SINK}) as embedded_at,
       max(at) filter (where sink = '{GRAPH_SINK}') as graphed_at
from receipts where event_id = $1 and workspace = $2 group by document_id
"""  # noqa: S608 - constants only

_LETTERS = """
select letter_id, reason, detail, worker, attempts, first_at, last_at, state
from dead_letters where event_id = $1 and workspace = $2 order by first_at, letter_id
"""


@dataclass(frozen=True, slots=True)
class Completeness:
    """How far the events of one source have come, in events."""

    fetched: int = 0
    normalised: int = 0
    embedded: int = 0
    graphed: int = 0
    dead_lettered: int = 0
    not_a_document: int = 0
    pending: int = 0

    @property
    def complete(self) -> bool:
        """Whether every event has come to an end, good or explicit."""
        return self.pending == 0


@dataclass(frozen=True, slots=True)
class DocumentProgress:
    """What the sinks say about one document of an event. `version` and `operation` are None until one spoke."""

    document_id: UUID
    version: int | None
    operation: str | None
    embedded_at: datetime | None
    graphed_at: datetime | None


@dataclass(frozen=True, slots=True)
class EventProgress:
    """Where one event stands."""

    event_id: UUID
    source: str
    connector: str
    accepted_at: datetime | None
    outcome: str | None
    normalised_at: datetime | None
    detail: str
    documents: tuple[DocumentProgress, ...]
    dead_letters: tuple[dict[str, Any], ...]

    @property
    def state(self) -> EventState:
        """The furthest that holds of the whole event."""
        if self.outcome == "not_a_document":
            return "not_a_document"
        embedded = self.outcome == "documents" and all(document.embedded_at for document in self.documents)
        graphed = self.outcome == "documents" and all(document.graphed_at for document in self.documents)
        if embedded and graphed:
            return "complete"
        if any(letter["state"] != "redriven" for letter in self.dead_letters):
            return "dead_lettered"
        if embedded:
            return "searchable"
        return "normalised" if self.outcome == "documents" else "accepted"


@translated
async def completeness(
    pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, source: str | None = None
) -> dict[str, Completeness]:
    """Return the progress of each source of `workspace` that has events, or of `source` alone. Raises Transient."""
    rows = await pool.fetch(_COMPLETENESS, workspace, source)
    return {row["source"]: Completeness(**{name: row[name] for name in Completeness.__slots__}) for row in rows}


@translated
async def letter_reasons(
    pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, source: str
) -> list[tuple[str, str, int]]:
    """Return reason, state and number of events of a source that are dead-lettered; they add up. Raises Transient."""
    return [(row["reason"], row["state"], row["events"]) for row in await pool.fetch(_REASONS, workspace, source)]


@translated
async def event_progress(pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, event_id: UUID) -> EventProgress | None:
    """Return where an event of `workspace` stands, None if the ledger knows none. Raises Transient."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        row = await connection.fetchrow(_EVENT, event_id, workspace)
        if row is None:
            return None
        receipts = {each["document_id"]: each for each in await connection.fetch(_RECEIPTS, event_id, workspace)}
        letters = await connection.fetch(_LETTERS, event_id, workspace)
    return EventProgress(
        **{name: row[name] for name in ("event_id", "source", "connector", "accepted_at", "outcome")},
        normalised_at=row["normalised_at"],
        detail=row["detail"],
        documents=tuple(_document(each, receipts.get(each)) for each in row["documents"]),
        dead_letters=tuple(dict(letter) for letter in letters),
    )


def _document(document_id: UUID, receipt: asyncpg.Record | None) -> DocumentProgress:
    if receipt is None:
        return DocumentProgress(document_id, None, None, None, None)
    return DocumentProgress(
        document_id, receipt["version"], receipt["operation"], receipt["embedded_at"], receipt["graphed_at"]
    )
