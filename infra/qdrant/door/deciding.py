"""Decides conditions before the engine logs a change: the log then holds effects, never conditions.

After a SIGKILL the engine replays its log on what is stored. Payload indexes are mapped files and may be ahead of the
payloads they index: a conditional change, judged again at replay, then finds its own effect in the index, is skipped,
and the old payload stays for good, out of reach of every later condition (seen with qdrant-edge-py 0.9.0: a chunk of
version 9 that the index knew as version 10). A change that names its points is replayed whatever the index says, and
puts both right. One process owns the shard and nothing runs between decision and change, so both see the same state.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from qdrant_edge import EdgeShard, Filter, HasIdCondition, Point, ScrollRequest, UpdateMode, UpdateOperation

from infra.qdrant.door.reading import PointId

Decision = Callable[[EdgeShard], UpdateOperation | None]
"""Returns what is to be logged given the present state, None if nothing is."""


def matching(shard: EdgeShard, condition: Filter, among: Collection[PointId] | None = None) -> list[PointId]:
    """Return the ids of the stored points that meet `condition`, of all or `among` some."""
    limit = shard.info().points_count if among is None else len(among)
    within = condition if among is None else Filter(must=[HasIdCondition(set(among)), condition])
    points, _ = shard.scroll(ScrollRequest(limit=max(1, limit), filter=within, with_payload=False))
    return [point.id for point in points]


def upserting(points: Sequence[Point], condition: Filter | None, mode: UpdateMode) -> Decision:
    """Decide which points an upsert writes: new ones unless it only updates, stored ones that meet its condition."""
    ids = [point.id for point in points]

    def decide(shard: EdgeShard) -> UpdateOperation | None:
        stored = {record.id for record in shard.retrieve(ids, False, False)}
        updated: set[Any] = set()
        if mode != UpdateMode.InsertOnly:
            updated = stored if condition is None else set(matching(shard, condition, stored)) if stored else set()
        inserted = set() if mode == UpdateMode.UpdateOnly else set(ids) - stored
        written = [point for point in points if point.id in updated or point.id in inserted]
        return UpdateOperation.upsert_points(written) if written else None

    return decide


def by_ids(condition: Filter, change: Callable[[list[PointId]], UpdateOperation]) -> Decision:
    """Decide to which points a change by filter is applied."""

    def decide(shard: EdgeShard) -> UpdateOperation | None:
        found = matching(shard, condition)
        return change(found) if found else None

    return decide
