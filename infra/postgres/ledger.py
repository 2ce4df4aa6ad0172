"""Reads of the ledger for operators: sources of all workspaces, and where a document is."""

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from infra.postgres.pool import translated

_SOURCES = """
select workspace, source_id as source, name, connector from sources
where ($1::text is null or workspace = $1) and ($2::text is null or source_id = $2 or name = $2)
union
select distinct e.workspace, e.source, '' as name, max(e.connector) as connector from events e
where ($1::text is null or e.workspace = $1) and ($2::text is null or e.source = $2)
  and not exists (select from sources s where s.source_id = e.source)
group by e.workspace, e.source
order by workspace, name, source
"""
_WORKSPACE = """
select workspace from documents where document_id = $1
union select workspace from receipts where document_id = $1
"""


@dataclass(frozen=True, slots=True)
class LedgerSource:
    """A source that events came from; `name` is empty where it is not registered (any more)."""

    workspace: str
    source: str
    name: str
    connector: str


@translated
async def ledger_sources(
    pool: "asyncpg.Pool[asyncpg.Record]", workspace: str | None, source: str | None
) -> list[LedgerSource]:
    """Return the sources, of all workspaces where None is given; `source` is an id or a name. Raises Transient."""
    return [LedgerSource(**row) for row in await pool.fetch(_SOURCES, workspace, source)]


@translated
async def workspaces_of(pool: "asyncpg.Pool[asyncpg.Record]", document_id: UUID) -> list[str]:
    """Return the workspaces that know a document: one, or none. Raises Transient."""
    return [row["workspace"] for row in await pool.fetch(_WORKSPACE, document_id)]


@translated
async def list_workspaces(pool: "asyncpg.Pool[asyncpg.Record]") -> list[str]:
    """Return every workspace that has a key or an event. Raises Transient."""
    rows = await pool.fetch("select name from workspaces union select distinct workspace from events order by 1")
    return [row["name"] for row in rows]
