"""What stands in a removed thing goes with it, and what comes late stays out.

A thing that is removed and its contents may stand in different partitions, and be handled in the same moment. Each side
first commits its own row and then reads the other's: a document its row and then whether something above it is removed,
a removal its row and then its contents. Whoever reads last sees the other, so that at least one of the two acts; where
both do, they take turns at the document's row, and the second finds nothing left to do.

Contents are deleted a page at a time, each by a deletion of its own at the next free version, and a page is on the log
before the next one is begun. The removal's row remembers how far that went: delivered again after a crash, it goes on
with the page that may not have been published.
"""

from collections.abc import AsyncIterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import asyncpg

from infra.postgres.columns import array_text, columns
from infra.postgres.pool import translated
from schemas.documents import DocumentVersion
from schemas.event import MAX_VERSION
from schemas.ids import document_id
from schemas.raw import RawEvent
from workers.normalizer.decide import Held, Verdict
from workers.normalizer.gate import Passed

PAGE = 500
"""Contents that are deleted at once: about 1 MB of records."""
_FIRST = UUID(int=0)

# `union` forgets what it has met: things that stand in each other in a circle end the walk.
_ABOVE = """
with recursive above (document_id, number, container) as (
    select t.document_id, t.number, p.container
    from unnest($1::uuid[], $2::bigint[], $3::text[]) as t (document_id, number, parents)
    cross join unnest(t.parents::uuid[]) as p (container)
    union
    select a.document_id, a.number, p.container
    from above a join published c on c.document_id = a.container cross join unnest(c.parents) as p (container)
)
select distinct on (a.document_id) a.document_id, c.document_id as container, c.floor
from above a join published c on c.document_id = a.container
where c.floor >= a.number order by a.document_id, c.floor desc, c.document_id
"""
# Only as long as the row is the one that was judged: a newer state, or the removal itself, has decided otherwise.
_HIDE = """
with mine as (
    select document_id from published where document_id = any($1) order by document_id for update
)
update published p set hidden_by = t.container, gone = true, version = t.version
from unnest($1::uuid[], $2::int[], $3::bigint[], $4::bigint[], $5::uuid[])
  as t (document_id, partition, "offset", version, container)
join mine using (document_id)
where p.document_id = t.document_id and p.partition = t.partition and p."offset" = t."offset" and not p.deleted
  and p.hidden_by is null
returning p.document_id
"""
_HOLDING = "select distinct container from contents where container = any($1)"
# What the swept thing holds itself has its turn there, and not once more inside of what it also stands in.
_PAGE = """
select c.document_id, exists (select from contents n where n.container = c.document_id) as holds
from contents c where c.container = $1 and c.document_id > $2
  and ($1 = $4 or not exists (select from contents o where o.container = $4 and o.document_id = c.document_id))
order by c.document_id limit $3
"""
# What this removal has hidden before is told again: it may have died before that was published. What moves out while it
# is under way stays: its own row says where it stands, and the lock shows that row as it is now.
_REMOVE = f"""
with mine as (
    select document_id from published where document_id = any($1) order by document_id for update
)
update published p set hidden_by = $2, gone = true,
    version = case when p.gone then p.version else least(p.version + 1, {MAX_VERSION}) end
from mine
where p.document_id = mine.document_id and p.number <= $3 and $4 = any(p.parents) and not p.deleted and p.version > 0
  and (not p.gone or p.hidden_by = $2)
returning p.document_id, p.version, p.workspace, p.source, p.connector, p.external_id, p.kind
"""  # noqa: S608 - a constant
_SWEPT = "update published set swept = $2 where document_id = $1 and floor = $3"


@dataclass(frozen=True, slots=True)
class Sweep:
    """Contents that are to be deleted: those of `container` numbered up to `floor`, behind `after`.

    `by` is the removed thing; `remembers` says that it is `container` itself, whose row notes how far it went.
    """

    container: UUID
    by: UUID
    floor: int
    after: UUID = _FIRST
    remembers: bool = False


async def hide(
    pool: "asyncpg.Pool[asyncpg.Record]", events: Sequence[Sequence[Passed]]
) -> tuple[list[list[Passed]], list[list[Sweep]]]:
    """Return what is left of the gate's word once removed things are looked at, and what is to be swept, by event.

    Raises Transient, Permanent.
    """
    in_order = [each for event in events for each in event]
    above = _above_in_batch(in_order) | await _above(pool, [each for each in in_order if _enters(each)])
    if not above:
        return [list(event) for event in events], [_removals(event) for event in events]
    last = _last_hidden(events, above)
    taken = await _hide(pool, list(last.values()))
    holding = await _holding(pool, sorted(above))
    kept: list[list[Passed]] = []
    sweeps: list[list[Sweep]] = []
    for event in events:
        kept.append([])
        sweeps.append(_removals(event))
        for each in event:
            if not (_enters(each) and each.document_id in above):
                kept[-1].append(each)
                continue
            kept[-1].append(_hidden(each, last.get(each.document_id), taken))
            if each.document_id in holding:
                sweeps[-1].append(Sweep(each.document_id, *above[each.document_id]))
    return kept, sweeps


@dataclass(frozen=True, slots=True)
class _Hiding:
    """A state that is to be hidden; `known` says that the sinks hold something of its document, to be deleted."""

    passed: Passed
    container: UUID
    known: bool

    @property
    def version(self) -> int:
        """What the sinks are told last: a deletion at the state's version, or nothing beyond what they know."""
        if self.known:
            return self.passed.version
        return self.passed.before.version if self.passed.before else 0


def _enters(each: Passed) -> bool:
    """Tell whether it matters to a state what stands above it."""
    return each.spoken and bool(each.state.version.parents) and not each.state.deleted


def _last_hidden(events: Sequence[Sequence[Passed]], above: Mapping[UUID, tuple[UUID, int]]) -> dict[UUID, _Hiding]:
    """Return the last state of each document that is to be hidden now: that one the row speaks of."""
    shown: set[UUID] = set()
    last: dict[UUID, _Hiding] = {}
    for each in (each for event in events for each in event if each.shown):
        if _enters(each) and each.document_id in above:
            known = each.document_id in shown or _known(each.before)
            last[each.document_id] = _Hiding(each, above[each.document_id][0], known)
        else:
            shown.add(each.document_id)
    return last


def _hidden(each: Passed, hiding: _Hiding | None, taken: Set[UUID]) -> Passed:
    if each.verdict is Verdict.HIDDEN:
        return each
    told = hiding is not None and hiding.passed is each and hiding.known and each.document_id in taken
    return replace(each, verdict=Verdict.HIDDEN, version=each.version if told else 0)


def _removals(event: Sequence[Passed]) -> list[Sweep]:
    return [
        Sweep(each.document_id, each.document_id, each.held.floor, each.held.swept or _FIRST, remembers=True)
        for each in event
        if each.state.removes and each.shown
    ]


def _known(before: Held | None) -> bool:
    """Tell whether the sinks hold a state of the document, as far as anybody knows."""
    return before is not None and not before.gone


def _above_in_batch(passed: Sequence[Passed]) -> dict[UUID, tuple[UUID, int]]:
    """Return by document the removed thing that it stands in and that came back behind it in this batch.

    Its row says no more that it was removed when the document's turn came.
    """
    lifted = {
        each.document_id: (at, each.before.floor)
        for at, each in reversed(list(enumerate(passed)))
        if each.before is not None and each.held.floor < each.before.floor
    }
    found: dict[UUID, tuple[UUID, int]] = {}
    for at, each in enumerate(passed) if lifted else ():
        for container in lifted.keys() & _parents(each) if _enters(each) else ():
            until, floor = lifted[container]
            if at < until and each.held.number <= floor:
                found[each.document_id] = (container, floor)
            elif found.get(each.document_id, (None,))[0] == container:
                # Said once more behind it: the last one counts.
                found.pop(each.document_id, None)
    return found


def _parents(each: Passed) -> list[UUID]:
    version = each.state.version
    return [document_id(version.workspace, version.source, name) for name in version.parents]


@translated
async def _above(pool: "asyncpg.Pool[asyncpg.Record]", entering: Sequence[Passed]) -> dict[UUID, tuple[UUID, int]]:
    """Return by document the removed thing that it stands in, and that one's floor."""
    rows = [(each.document_id, each.held.number, array_text(_parents(each))) for each in entering]
    found: list[Any] = await pool.fetch(_ABOVE, *columns(rows)) if rows else []
    return {row["document_id"]: (row["container"], row["floor"]) for row in found}


@translated
async def _hide(pool: "asyncpg.Pool[asyncpg.Record]", hiding: Sequence[_Hiding]) -> set[UUID]:
    """Note that these are hidden; return those whose rows still were as the gate had left them."""
    rows = [(each.passed.document_id, *each.passed.place, each.version, each.container) for each in hiding]
    found: list[Any] = await pool.fetch(_HIDE, *columns(rows)) if rows else []
    return {row["document_id"] for row in found}


@translated
async def _holding(pool: "asyncpg.Pool[asyncpg.Record]", documents: Sequence[UUID]) -> set[UUID]:
    rows: list[Any] = await pool.fetch(_HOLDING, list(documents))
    return {row["container"] for row in rows}


async def pages(
    pool: "asyncpg.Pool[asyncpg.Record]", sweep: Sweep, cause: RawEvent
) -> AsyncIterator[list[DocumentVersion]]:
    """Yield the deletions of everything that stands in a removed thing, at whatever depth, a page at a time.

    Go on only when a page is on the log. Raises Transient, Permanent.
    """
    met = {sweep.container}
    open_pages = [(sweep.container, sweep.after)]
    while open_pages:
        container, after = open_pages.pop()
        rows = await _page(pool, container, after, sweep)
        if not rows:
            continue
        ids = [row["document_id"] for row in rows]
        open_pages.append((container, ids[-1]))
        deletions = await _remove(pool, container, ids, sweep, cause)
        if deletions:
            yield deletions
        inner = {row["document_id"] for row in rows if row["holds"]} - met
        met |= inner
        open_pages += [(each, _FIRST) for each in sorted(inner)]
        if sweep.remembers and container == sweep.container and not inner:
            await _remember(pool, sweep, ids[-1])


@translated
async def _page(pool: "asyncpg.Pool[asyncpg.Record]", container: UUID, after: UUID, sweep: Sweep) -> list[Any]:
    return list(await pool.fetch(_PAGE, container, after, PAGE, sweep.container))


@translated
async def _remove(
    pool: "asyncpg.Pool[asyncpg.Record]", container: UUID, ids: Sequence[UUID], sweep: Sweep, cause: RawEvent
) -> list[DocumentVersion]:
    rows: list[Any] = await pool.fetch(_REMOVE, list(ids), sweep.by, sweep.floor, container)
    return [
        DocumentVersion(
            operation="delete",
            event_id=cause.event_id,
            received_at=cause.received_at,
            **{name: row[name] for name in _TOLD},
        )
        for row in sorted(rows, key=lambda row: str(row["document_id"]))
    ]


_TOLD = ("document_id", "version", "workspace", "source", "connector", "external_id", "kind")


@translated
async def _remember(pool: "asyncpg.Pool[asyncpg.Record]", sweep: Sweep, last: UUID) -> None:
    await pool.execute(_SWEPT, sweep.container, last, sweep.floor)
