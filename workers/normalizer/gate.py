"""Lets no older state of a document follow a newer one into topic `documents`.

Compaction keeps the last record of a key, and a new index is filled from what it kept: the last word on a document must
be its newest state. Table `published` holds the newest state that was let through. A state that is older is superseded:
it is not published, the normalizer's receipt names its document, and nobody waits for the sinks. Of an update and a
deletion with one number the deletion is newer, as in the sinks.

The row is written before the state is published, so that

- a crash between the two loses nothing: the offset is not committed, the record is delivered again, and a state equal
  to the row's is published again (so is one that a replay, a redrive or its source says once more);
- several states of one document in one batch pass in rising order, each in its turn, and what falls behind does not;
  delivered again, only the newest of them passes, since the row stands there already;
- two batches at once (a document's deliveries and its deletion by a user may stand in two partitions; a rebalance may
  leave a second normalizer at work) take turns at the row, in the order of ids, and each sees what the other left.

A row may stand before its record is in the log: what is older is then superseded by a state that is on its way. If the
broker refuses that record for good, it is a dead letter, and the older state stays behind it: redrive it.

What the row cannot see is the moment of publishing. A batch that has passed and is held up before its records reach the
broker (a normalizer that sleeps, loses its partition, and wakes; two partitions within the same milliseconds) can be
overtaken there by a newer state, and its older one is then the last word until a state of the document is said again.
Only the log's own order could tell; the sinks of today hold the newest state all the same, by their own gates.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any
from uuid import UUID

import asyncpg

from infra.postgres.pool import translated
from schemas.documents import DocumentVersion

_LET_THROUGH = """
insert into published as held (document_id, standing, before)
select document_id, max(standing), 0 from unnest($1::uuid[], $2::bigint[]) as t (document_id, standing)
group by document_id order by document_id
on conflict (document_id) do update
    set before = held.standing, standing = greatest(held.standing, excluded.standing)
returning document_id, before
"""


@translated
async def superseded(
    pool: "asyncpg.Pool[asyncpg.Record]", events: Sequence[Sequence[DocumentVersion]]
) -> list[frozenset[UUID]]:
    """Note what is about to be published; return for each event the documents of which a newer state already was.

    `events`: the document versions of each event, at most one per document, in the order in which they are published.
    Raises Transient, Permanent.
    """
    versions = list(chain.from_iterable(events))
    if not versions:
        return [frozenset() for _ in events]
    rows: list[Any] = await pool.fetch(
        _LET_THROUGH, [version.document_id for version in versions], [_standing(version) for version in versions]
    )
    newest: dict[UUID, int] = {row["document_id"]: row["before"] for row in rows}
    return [frozenset(version.document_id for version in event if _falls_behind(version, newest)) for event in events]


def _falls_behind(version: DocumentVersion, newest: dict[UUID, int]) -> bool:
    standing, held = _standing(version), newest[version.document_id]
    newest[version.document_id] = max(standing, held)
    return standing < held


def _standing(version: DocumentVersion) -> int:
    """Order states of one document in one number: below 2^54, since versions are below 2^53."""
    return 2 * version.version + (version.operation == "delete")
