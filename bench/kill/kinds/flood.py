"""A burst of one workspace beside which the others go on, and how long the others' events took meanwhile."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.kill.kinds.writer import Writer
from bench.kill.model import World
from bench.kill.stream import UPLOADS, Step, Trait
from bench.kill.tables import Pool

_SEARCHABLE = """
select e.event_id, e.workspace, e.accepted_at, min(r.at) as searchable_at
from events e join receipts r using (event_id)
where e.workspace = any($1) and e.accepted_at is not null
  and r.sink = (select 'embedder/' || index_id from indexes where state = 'live')
group by e.event_id
"""


def flood(writers: Sequence[Writer], count: int) -> Iterator[Step]:
    """Say `count` states, most of them of new documents, by upload and by webhook, as fast as it goes."""
    versions: defaultdict[str, list[int]] = defaultdict(list)
    chance = writers[0].chance
    for _ in range(count):
        (writer,) = chance.choices(writers, [3 if each.source == UPLOADS else 1 for each in writers])
        known = versions[writer.source]
        if known and chance.random() < 0.1:
            at = chance.randrange(len(known))
        else:
            at = len(known)
            known.append(0)
        known[at] += 1
        if writer.source == UPLOADS:
            yield writer.say(f"flood-{at + 1:05}.md", trait=Trait.FLOOD)
        else:
            yield writer.say(f"flood-{at + 1:05}", version=known[at], trait=Trait.FLOOD)


@dataclass
class Waits:
    """Seconds from acceptance to searchable."""

    lasted_s: float = 0.0
    """From the first acceptance in the flood until all of it was searchable."""
    flood: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    """Of other workspaces' events that were accepted meanwhile."""
    otherwise: list[float] = field(default_factory=list)
    """Of other workspaces' events at other times."""

    @classmethod
    async def read(cls, pool: Pool, world: World) -> "Waits":
        """Ask the ledger. Raises asyncpg's errors."""
        rows: list[Any] = await pool.fetch(_SEARCHABLE, world.workspaces)
        return cls.of(rows, world)

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]], world: World) -> "Waits":
        """Sort `rows` (event_id, workspace, accepted_at, searchable_at) by what they waited beside."""
        flood = {event_id for event_id, ended in world.events.items() if ended.step.trait is Trait.FLOOD}
        ours = [row for row in rows if row["event_id"] in flood]
        waits = cls()
        if not ours:
            return waits
        first, last = min(row["accepted_at"] for row in ours), max(row["searchable_at"] for row in ours)
        waits.lasted_s = (last - first).total_seconds()
        waits.flood = sorted(_seconds(row) for row in ours)
        flooded = {row["workspace"] for row in ours}
        others = [row for row in rows if row["workspace"] not in flooded]
        waits.beside = sorted(_seconds(row) for row in others if first <= row["accepted_at"] <= last)
        waits.otherwise = sorted(_seconds(row) for row in others if not first <= row["accepted_at"] <= last)
        return waits


def _seconds(row: Mapping[str, Any]) -> float:
    seconds: float = (row["searchable_at"] - row["accepted_at"]).total_seconds()
    return seconds
