"""How long it took until what came in could be found."""

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from infra.postgres.pool import translated

# Events accepted before the window are left out: an index that fills itself from the start of the log would count
# their age as lag. A receipt's `at` is its first: redeliveries and repairs do not move it.
_LAGS = """
select connector, documents, quantiles[1]::float8 as p50, quantiles[2]::float8 as p95,
       quantiles[3]::float8 as p99
from (
    select e.connector, percentile_cont(array[0.5, 0.95, 0.99]) within group (
               order by extract(epoch from r.at - e.accepted_at)) as quantiles, count(*) as documents
    from receipts r join events e on e.event_id = r.event_id and e.workspace = r.workspace
    where r.sink = (select 'embedder/' || index_id from indexes where state = 'live')
      and r.at >= $1 and e.accepted_at >= $1 and r.outcome = 'applied' and r.operation = 'upsert'
      and ($2::text is null or r.workspace = $2) and ($3::text is null or r.source = $3)
    group by e.connector
) counted
order by connector
"""


@dataclass(frozen=True, slots=True)
class Lag:
    """Seconds from acceptance to searchable of the document versions of one connector."""

    connector: str
    documents: int
    p50: float
    p95: float
    p99: float


@translated
async def lags(
    pool: "asyncpg.Pool[asyncpg.Record]", since: datetime, workspace: str | None = None, source: str | None = None
) -> list[Lag]:
    """Return the lag of each connector whose documents became searchable since then. Raises Transient."""
    return [Lag(**row) for row in await pool.fetch(_LAGS, since, workspace, source)]
