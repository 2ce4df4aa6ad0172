"""Who is next among the records of one partition: workspaces take turns, deletions and small records overtake bulk.

Each workspace has up to three *sequences*: deletions, small records, bulk. A sequence hands out one batch at a time;
those of one kind take turns, the one that has waited longest first, and a bound of its own for each kind (`AT_ONCE`)
keeps one kind from holding up another. So a workspace with work waits for at most one batch of each other one, and
neither its deletions nor its small records wait for its own large ones. Within a sequence the sources are taken from
in turn, record by record.

Order of a key (which is that of a document): a record is not begun while an earlier one of its key is queued or at
work, unless in one batch with it. Only a deletion may do so where the reader allows it (`Deletions`). What may not be
begun yet is set aside and comes back, ahead of what came later, when what it waits for is finished.

No clock and no tasks: `infra.kafka.lane` runs what this hands out.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")

BULK_BYTES = 64 * 1024
"""A record from this size on is bulk: a document of about 50 chunks, seconds of encoding on two cores."""


class Deletions(Enum):
    """What a deletion may do to earlier records of its own key; those of other keys it overtakes in any case."""

    IN_ORDER = "in order"
    """Nothing."""
    OVERTAKE = "overtake"
    """Go before those that are queued: for a handler that drops what is older than a deletion."""
    BESIDE = "beside"
    """Run beside those at work too: for a handler whose longer work looks out for it."""


class Kind(Enum):
    """What a record is to the others of its workspace."""

    DELETION = "deletion"
    SMALL = "small"
    BULK = "bulk"


AT_ONCE = {Kind.DELETION: 2, Kind.SMALL: 4, Kind.BULK: 2}
"""Batches of a partition that are at work at once, of different workspaces."""


class Entry(NamedTuple, Generic[Item]):
    """One record with what decides its turn, as its headers have it. `size` in bytes, wherever its body stands."""

    item: Item
    offset: int
    workspace: bytes
    source: bytes
    key: bytes | None
    size: int
    deletion: bool = False

    @property
    def kind(self) -> Kind:
        """Which sequence it belongs to if nothing of its key is unfinished."""
        if self.deletion:
            return Kind.DELETION
        return Kind.BULK if self.size >= BULK_BYTES else Kind.SMALL


class Batch(NamedTuple, Generic[Item]):
    """What is handed out together: in order of offset for each key."""

    entries: list[Entry[Item]]
    workspace: bytes
    kind: Kind

    @property
    def size(self) -> int:
        """Bytes of all its records."""
        return sum(entry.size for entry in self.entries)


@dataclass(slots=True)
class _Sequence(Generic[Item]):
    workspace: bytes
    kind: Kind
    sources: OrderedDict[bytes, deque[Entry[Item]]] = field(default_factory=OrderedDict)
    busy: bool = False


class _Key(Generic[Item]):
    """What is unfinished of one key. A plain class: one is made for nearly every record."""

    __slots__ = ("aside", "at_work", "deleting", "deletions", "kind", "others", "source")

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.kind: Kind | None = None
        """The sequence of all that is no deletion, so that it stays in order; None while there is none."""
        self.others: list[int] = []
        """Offsets of unfinished records that are no deletions, rising."""
        self.at_work = 0
        """Those of them that are at work."""
        self.deleting = 0
        """Deletions at work."""
        self.deletions: list[int] = []
        """Offsets of unfinished deletions, rising."""
        self.aside: list[Entry[Item]] = []
        """Taken out of their queues, not begun: they wait for others of this key."""


class Shares(Generic[Item]):
    """The records of one partition that are not finished."""

    def __init__(self, deletions: Deletions = Deletions.IN_ORDER) -> None:
        self._deletions = deletions
        self._beside = deletions is Deletions.BESIDE
        self._sequences: dict[tuple[bytes, Kind], _Sequence[Item]] = {}
        self._ready: dict[Kind, OrderedDict[bytes, _Sequence[Item]]] = {kind: OrderedDict() for kind in Kind}
        """Sequences with something queued and no batch at work, the one that has waited longest first."""
        self._at_work = dict.fromkeys(Kind, 0)
        self._keys: dict[bytes | None, _Key[Item]] = {}

    def add(self, entry: Entry[Item]) -> None:
        """Queue up a record; offsets rise from call to call."""
        key = self._keys.get(entry.key)
        if key is None:
            key = self._keys[entry.key] = _Key(entry.source)
        if entry.deletion:
            key.deletions.append(entry.offset)
        else:
            key.others.append(entry.offset)
            key.kind = key.kind or entry.kind
        self._place(entry, key)

    def take(self, records: int, size: int) -> Batch[Item] | None:
        """Return the next batch, of at most `records` records and `size` bytes (or one larger one), None for now."""
        for kind in Kind:
            while self._ready[kind] and self._at_work[kind] < AT_ONCE[kind]:
                _, sequence = self._ready[kind].popitem(last=False)
                if entries := self._taken(sequence, records, size):
                    sequence.busy = True
                    self._at_work[kind] += 1
                    self._begin(entries)
                    return Batch(entries, sequence.workspace, kind)
                self._settle(sequence)
        return None

    def done(self, batch: Batch[Item]) -> None:
        """Take note that the records of a batch are finished."""
        sequence = self._sequences[batch.workspace, batch.kind]
        sequence.busy = False
        self._at_work[batch.kind] -= 1
        for entry in batch.entries:
            self._finish(entry)
        self._settle(sequence)

    def _begin(self, entries: Iterable[Entry[Item]]) -> None:
        for entry in entries:
            key = self._keys[entry.key]
            if entry.deletion:
                key.deleting += 1
            else:
                key.at_work += 1

    def _finish(self, entry: Entry[Item]) -> None:
        key = self._keys[entry.key]
        if entry.deletion:
            key.deleting -= 1
            key.deletions.remove(entry.offset)
        else:
            key.at_work -= 1
            key.others.remove(entry.offset)
            if not key.others:
                key.kind = None
        if key.aside:
            aside, key.aside = key.aside, []
            for each in reversed(aside):
                self._place(each, key, first=True)
        elif not (key.others or key.deletions):
            del self._keys[entry.key]

    def _place(self, entry: Entry[Item], key: _Key[Item], *, first: bool = False) -> None:
        kind = Kind.DELETION if entry.deletion else key.kind or entry.kind
        sequence = self._sequences.get((entry.workspace, kind))
        if sequence is None:
            sequence = self._sequences[entry.workspace, kind] = _Sequence(entry.workspace, kind)
        queue = sequence.sources.get(key.source)
        if queue is None:
            queue = sequence.sources[key.source] = deque()
        if first:
            queue.appendleft(entry)
        else:
            queue.append(entry)
        if not sequence.busy:
            self._ready[kind].setdefault(entry.workspace, sequence)

    def _taken(self, sequence: _Sequence[Item], records: int, size: int) -> list[Entry[Item]]:
        entries: list[Entry[Item]] = []
        held = 0
        while sequence.sources and len(entries) < records:
            source, queue = next(iter(sequence.sources.items()))
            entry = queue[0]
            key = self._keys[entry.key]
            if not self._may_begin(entry, key):
                key.aside.append(queue.popleft())
            elif entries and held + entry.size > size:
                break
            else:
                entries.append(queue.popleft())
                held += entry.size
            if not queue:
                del sequence.sources[source]
            elif len(sequence.sources) > 1:
                sequence.sources.move_to_end(source)
        return entries

    def _may_begin(self, entry: Entry[Item], key: _Key[Item]) -> bool:
        if entry.deletion:
            if self._deletions is Deletions.IN_ORDER and key.others and key.others[0] < entry.offset:
                return False
            return not key.deleting and (self._beside or not key.at_work)
        earlier_deletion = bool(key.deletions) and key.deletions[0] < entry.offset
        # Also of what comes behind a record that is set aside: what holds that one up holds it up as well.
        return not (earlier_deletion or key.at_work or (key.deleting and not self._beside))

    def _settle(self, sequence: _Sequence[Item]) -> None:
        """Put a sequence that has no batch at work where it belongs: behind those that wait, or away."""
        if sequence.busy:
            return
        if sequence.sources:
            self._ready[sequence.kind].setdefault(sequence.workspace, sequence)
        else:
            self._ready[sequence.kind].pop(sequence.workspace, None)
            self._sequences.pop((sequence.workspace, sequence.kind), None)
