"""What the ledger says: the documents of a workspace, page by page."""

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import asyncpg

from infra.postgres.pool import translated
from infra.postgres.progress import GRAPH_SINK
from infra.reconcile.states import Held, Known

FIRST = UUID(int=0)

_DETAILS = f"""
select i.document_id, coalesce(d.source, r.source, '') as source, coalesce(d.event_id, r.event_id) as event_id,
       d.version as table_version, d.deleted as table_deleted, d.chunks,
       r.version, r.event_id as receipt_event, r.operation = 'delete' as deleted, g.version as graph_version, g.parts
from unnest($2::uuid[]) as i (document_id)
left join documents d on d.document_id = i.document_id and d.workspace = $1
left join lateral (
    select version, operation, event_id, source from receipts
    where workspace = $1 and document_id = i.document_id order by version desc, operation limit 1) r on true
left join lateral (
    select version, parts from receipts
    where workspace = $1 and document_id = i.document_id and sink = '{GRAPH_SINK}' and outcome = 'applied'
      and operation = 'upsert'
    order by version desc, at desc limit 1) g on true
order by i.document_id
"""  # noqa: S608 - constants only

# Each branch stops at the page's size by itself: a page costs the same wherever it is.
_IDS = """
(select document_id from documents
 where workspace = $1 and ($2::text is null or source = $2) and document_id > $3 order by document_id limit $4)
union
(select distinct document_id from receipts
 where workspace = $1 and ($2::text is null or source = $2) and document_id > $3 order by document_id limit $4)
order by document_id limit $4
"""

# What events became and nobody has heard of since.
_UNHEARD = """
select distinct i as document_id from events e cross join unnest(e.documents) i
where e.workspace = $1 and ($2::text is null or e.source = $2) and e.outcome = 'documents' and i > $3
  and not exists (select from documents d where d.document_id = i and d.workspace = $1)
  and not exists (select from receipts r where r.document_id = i and r.workspace = $1)
order by document_id limit $4
"""
_KNOWN = """
select document_id from documents where workspace = $1 and document_id = any ($2)
union select document_id from receipts where workspace = $1 and document_id = any ($2)
"""
_RAW = """
select e.raw_partition, e.raw_offset from events e
where e.workspace = $1 and e.event_id = $2 and e.raw_offset is not null
"""


async def pages(
    pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, source: str | None, size: int
) -> AsyncIterator[list[Known]]:
    """Yield every document of a workspace that the ledger knows, `size` at a time. Raises Transient."""
    for statement in (_IDS, _UNHEARD):
        after = FIRST
        while ids := await _ids(pool, statement, (workspace, source, after, size)):
            yield await details(pool, workspace, ids)
            after = ids[-1]


@translated
async def _ids(
    pool: "asyncpg.Pool[asyncpg.Record]", statement: str, wanted: tuple[str, str | None, UUID, int]
) -> list[UUID]:
    return [row["document_id"] for row in await pool.fetch(statement, *wanted)]


@translated
async def details(pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, ids: Sequence[UUID]) -> list[Known]:
    """Return what the ledger says of these documents. Raises Transient."""
    return [_known(workspace, row) for row in await pool.fetch(_DETAILS, workspace, list(ids))]


@translated
async def unknown(pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, ids: Sequence[UUID]) -> list[UUID]:
    """Return those of `ids` that the ledger does not know in `workspace`. Raises Transient."""
    found = {row["document_id"] for row in await pool.fetch(_KNOWN, workspace, list(ids))}
    return [each for each in ids if each not in found]


@translated
async def raw_place(pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, event_id: UUID) -> tuple[int, int] | None:
    """Return where the raw event stands in its topic, None if the ledger has not read it. Raises Transient."""
    row = await pool.fetchrow(_RAW, workspace, event_id)
    return (row["raw_partition"], row["raw_offset"]) if row else None


def _known(workspace: str, row: asyncpg.Record) -> Known:
    table = None
    if row["table_version"] is not None:
        table = Held(row["table_version"], row["table_deleted"])
    versions = [version for version in (row["table_version"], row["version"]) if version is not None]
    version = max(versions, default=None)
    in_table = table is not None and table.version == version
    deleted = bool((in_table and row["table_deleted"]) or (row["version"] == version and row["deleted"]))
    return Known(
        workspace=workspace,
        document_id=row["document_id"],
        source=row["source"],
        event_id=row["event_id"] if in_table else row["receipt_event"] or row["event_id"],
        version=version,
        deleted=deleted,
        chunks=row["chunks"] if in_table else None,
        relations=row["parts"] if version is not None and row["graph_version"] == version else None,
        table=table,
    )
