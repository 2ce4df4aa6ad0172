"""Which sources are due, and what their last pull left behind."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from infra.postgres.pool import translated

# A source that was registered without its row is pulled too. Only what is missing, and in order: `on conflict` alone
# waits for every row that another instance is leasing just then, and two instances would wait for each other.
_COMPLETE = """
insert into source_pulls (source_id)
select source_id from sources s
where connector = any($1) and not exists (select from source_pulls p where p.source_id = s.source_id)
order by source_id on conflict do nothing
"""

# The update of `next_at` is the lease: another instance sees the source as not due. The sources of a workspace queue
# behind each other, so that a workspace with hundreds of them has the next one pulled when each other one has.
_CLAIM = """
with queued as (
    select p.source_id, row_number() over (partition by s.workspace order by p.next_at, p.source_id)
        + (select count(*) from unnest($4::text[]) as at_work where at_work = s.workspace) as place
    from source_pulls p join sources s using (source_id)
    where s.enabled and s.connector = any($1) and p.next_at <= now()
), due as (
    select p.source_id from source_pulls p join queued using (source_id)
    where p.next_at <= now() and queued.place <= $5
    order by queued.place, p.next_at limit $2
    for update of p skip locked
)
update source_pulls p set next_at = now() + $3::interval
from due, sources s
where p.source_id = due.source_id and s.source_id = due.source_id
returning p.source_id, s.workspace, s.connector, s.config, p.state, p.failures, p.next_at
"""

# `next_at` unchanged proves that the lease is still ours: a pull that outlived it must not undo a later one's state.
_SUCCEED = """
update source_pulls set state = $3, next_at = now() + $4::interval, last_at = now(), last_error = null, failures = 0
where source_id = $1 and next_at = $2
"""

_FAIL = """
update source_pulls set next_at = now() + $3::interval, last_at = now(), last_error = $4, failures = failures + 1
where source_id = $1 and next_at = $2
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A source to pull now, leased to this instance until `lease`."""

    source_id: str
    workspace: str
    connector: str
    config: dict[str, Any]
    state: dict[str, Any]
    failures: int
    lease: datetime


@translated
async def claim(
    pool: "asyncpg.Pool[asyncpg.Record]",
    connectors: tuple[str, ...],
    lease: timedelta,
    at_once: int,
    at_work: Sequence[str] = (),
) -> list[Due]:
    """Lease sources of `connectors` that are due, in turn of their workspaces. Raises Transient.

    With those `at_work` (named by their workspaces) there are at most `at_once`, one workspace's all but one of them.
    """
    await pool.execute(_COMPLETE, list(connectors))
    room, each = at_once - len(at_work), max(1, at_once - 1)
    rows = await pool.fetch(_CLAIM, list(connectors), room, lease, list(at_work), each)
    return [
        Due(
            source_id=row["source_id"],
            workspace=row["workspace"],
            connector=row["connector"],
            config=row["config"],
            state=row["state"],
            failures=row["failures"],
            lease=row["next_at"],
        )
        for row in rows
    ]


@translated
async def succeed(pool: "asyncpg.Pool[asyncpg.Record]", due: Due, state: dict[str, Any], wait: timedelta) -> bool:
    """Note a good pull; False if the lease had passed to another instance. Raises Transient."""
    return bool(await pool.execute(_SUCCEED, due.source_id, due.lease, state, wait) == "UPDATE 1")


@translated
async def fail(pool: "asyncpg.Pool[asyncpg.Record]", due: Due, error: str, wait: timedelta) -> bool:
    """Note a failed pull; False if the lease had passed to another instance. Raises Transient."""
    return bool(await pool.execute(_FAIL, due.source_id, due.lease, wait, error[:1_000]) == "UPDATE 1")
