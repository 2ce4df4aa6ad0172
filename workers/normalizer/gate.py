"""Lets no older state of a document follow a newer one into topic `documents`, and no two states share a version.

Compaction keeps the last record of a key, and a new index is filled from what it kept: the last word on a document must
be its newest state. Table `published` holds, per document, the newest state that was let through and the last version
that was published; what a state is to it, `workers.normalizer.decide` says. A state that is older is superseded: it is
not published, the normalizer's receipt names its document, and nobody waits for the sinks.

The row is written before the state is published, so that

- a crash between the two loses nothing: the offset is not committed, the record is delivered again, and the state that
  the row holds is published again, at the same version (so it is for a replay or a redrive);
- several states of one document in one batch pass in rising order, each in its turn, and what falls behind does not;
  delivered again, only the newest of them passes, since the row stands there already;
- two batches at once (a document's deliveries and its deletion by a user may stand in two partitions; a rebalance may
  leave a second normalizer at work) take turns at the row, in the order of ids, and each sees what the other left.

A row may stand before its record is in the log: what is older is then superseded by a state that is on its way. If the
broker refuses that record for good, it is a dead letter, and the older state stays behind it: redrive it.

What the row cannot see is the moment of publishing. Within one process `workers.normalizer.flights` keeps the order of
the gate. Between two, a batch that has passed and is held up before its records reach the broker (a normalizer that
sleeps, loses its partition, and wakes; two partitions within the same milliseconds) can be overtaken there by a newer
state, and its older one is then the last word until a state of the document is said again. Only the log's own order
could tell; the sinks of today hold the newest state all the same, by their own gates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from infra.postgres.columns import array_text, columns, storable
from infra.postgres.pool import translated
from schemas.documents import DocumentVersion
from schemas.ids import document_id
from workers.normalizer.decide import Held, Place, State, Verdict, decide

Connection = Any
"""A connection of the pool, which asyncpg hands out behind a proxy."""

# The update that changes nothing locks the row and reads it as whoever came before has left it.
_LOCK = """
insert into published as held (document_id) select unnest($1::uuid[]) order by 1
on conflict (document_id) do update set document_id = excluded.document_id
returning document_id, number, deleted, partition, "offset", digest, version, gone, hidden_by, floor, swept, parents
"""
_WRITE = """
update published p set
    number = t.number, deleted = t.deleted, partition = t.partition, "offset" = t."offset", digest = t.digest,
    version = t.version, gone = t.gone, hidden_by = t.hidden_by, floor = t.floor, swept = t.swept
from unnest($1::uuid[], $2::bigint[], $3::boolean[], $4::int[], $5::bigint[], $6::bytea[], $7::bigint[], $8::boolean[],
            $9::uuid[], $10::bigint[], $11::uuid[])
  as t (document_id, number, deleted, partition, "offset", digest, version, gone, hidden_by, floor, swept)
where p.document_id = t.document_id
"""
_STAND = """
update published p set
    parents = t.parents::uuid[], workspace = t.workspace, source = t.source, connector = t.connector,
    external_id = t.external_id, kind = t.kind
from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
  as t (document_id, parents, workspace, source, connector, external_id, kind)
where p.document_id = t.document_id
"""
_LEAVE = """
delete from contents c using unnest($1::uuid[], $2::uuid[]) as t (container, document_id)
where c.container = t.container and c.document_id = t.document_id
"""
_ENTER = """
insert into contents (container, document_id) select * from unnest($1::uuid[], $2::uuid[]) order by 1, 2
on conflict do nothing
"""


@dataclass(frozen=True, slots=True)
class Passed:
    """What the gate says of a state: `version` is the one to publish it at, if it is to be published.

    `before` is what was held of its document before the batch, None if nothing was.
    """

    state: State
    place: Place
    verdict: Verdict
    version: int
    held: Held
    before: Held | None

    @property
    def document_id(self) -> UUID:
        """Which document it is about."""
        return self.state.version.document_id

    @property
    def shown(self) -> bool:
        """Whether it goes into topic `documents`."""
        return self.verdict in {Verdict.PUBLISH, Verdict.AGAIN}

    @property
    def spoken(self) -> bool:
        """Whether it, or in its place a deletion, goes there."""
        return self.shown or self.verdict is Verdict.HIDDEN


@dataclass(frozen=True, slots=True)
class _Row:
    held: Held | None
    parents: tuple[UUID, ...]


@translated
async def let_through(
    pool: "asyncpg.Pool[asyncpg.Record]", events: Sequence[tuple[Place, Sequence[State]]]
) -> list[list[Passed]]:
    """Note what is about to be published; return what becomes of each state, by event, in their order.

    `events`: where each event was first accepted, and its states, at most one per document, in the order in which they
    are published. Raises Transient, Permanent: then nothing was noted.
    """
    ids = sorted({state.version.document_id for _, states in events for state in states})
    if not ids:
        return [[] for _ in events]
    async with pool.acquire() as connection, connection.transaction():
        rows = {row["document_id"]: _read(row) for row in await connection.fetch(_LOCK, ids)}
        held = {document: row.held for document, row in rows.items()}
        passed = [[_judge(state, place, held, rows) for state in states] for place, states in events]
        await _write(connection, {each: held[each] for each in ids if held[each] != rows[each].held})
        await _stand(connection, [each for event in passed for each in event], rows)
    return passed


def _judge(state: State, place: Place, held: dict[UUID, Held | None], rows: Mapping[UUID, _Row]) -> Passed:
    document = state.version.document_id
    decision = decide(state, place, held[document])
    held[document] = decision.held
    return Passed(state, place, decision.verdict, decision.version, decision.held, rows[document].held)


async def _write(connection: Connection, changed: Mapping[UUID, Held | None]) -> None:
    rows = [(document, *_columns(held)) for document, held in changed.items() if held is not None]
    if rows:
        await connection.execute(_WRITE, *columns(rows))


async def _stand(connection: Connection, passed: Sequence[Passed], rows: Mapping[UUID, _Row]) -> None:
    """Note what each newest state stands in, where that has changed; a deletion need not say it again."""
    moved: dict[UUID, tuple[tuple[UUID, ...], DocumentVersion]] = {}
    for each in passed:
        version = each.state.version
        newest = each.held.place == each.place
        if newest and (version.parents or not each.state.deleted):
            parents = tuple(document_id(version.workspace, version.source, name) for name in version.parents)
            moved[each.document_id] = (parents, version)
    moved = {document: there for document, there in moved.items() if there[0] != rows[document].parents}
    if not moved:
        return
    left = [(parent, document) for document in moved for parent in rows[document].parents]
    entered = [(parent, document) for document, (parents, _) in moved.items() for parent in parents]
    if left:
        await connection.execute(_LEAVE, *columns(left))
    if entered:
        await connection.execute(_ENTER, *columns(entered))
    named = [(document, array_text(parents), *_naming(version)) for document, (parents, version) in moved.items()]
    await connection.execute(_STAND, *columns(named))


def _naming(version: DocumentVersion) -> tuple[str, str, str, str, str]:
    return (version.workspace, version.source, version.connector, version.external_id, storable(version.kind))


def _read(row: Any) -> _Row:
    if row["number"] == 0:
        return _Row(None, ())
    place = None if row["partition"] is None else (row["partition"], row["offset"])
    told = {
        name: row[name] for name in ("number", "deleted", "digest", "version", "gone", "hidden_by", "floor", "swept")
    }
    return _Row(Held(place=place, **told), tuple(row["parents"]))


def _columns(held: Held) -> tuple[Any, ...]:
    partition, offset = held.place or (None, None)
    order = (held.number, held.deleted, partition, offset, held.digest)
    return (*order, held.version, held.gone, held.hidden_by, held.floor, held.swept)
