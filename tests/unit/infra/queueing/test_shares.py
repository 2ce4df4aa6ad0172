"""Whatever arrives, is finished or is given up in whatever order: fair, in order, nothing twice, nothing left."""

from collections import defaultdict
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from infra.kafka.progress import Progress
from infra.queueing.shares import AT_ONCE, BULK_BYTES, Batch, Deletions, Entry, Kind, Shares

MOST, BYTES = 3, 4 * BULK_BYTES

records = st.tuples(
    st.sampled_from(["flood", "flood", "calm"]),
    st.sampled_from(["s1", "s2"]),
    st.integers(0, 1),
    st.sampled_from([10, BULK_BYTES, 3 * BULK_BYTES]),
    st.booleans(),
)
steps = st.lists(st.one_of(records, records, st.just("take"), st.integers(0, 5)), min_size=10, max_size=60)


@dataclass
class Run:
    """What a lane does with `Shares`: takes, and finishes in an order of the test's choice."""

    deletions: Deletions
    open: list[Batch[int]] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    finished: set[int] = field(default_factory=set)
    entries: list[Entry[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shares: Shares[int] = Shares(self.deletions)
        self.progress = Progress()

    def add(self, workspace: str, source: str, key: int, size: int, deletion: bool) -> None:
        offset = 2 * len(self.entries)  # with gaps, as compaction leaves them
        # A key belongs to one source, as a document does; the record of an older writer may not say which.
        entry = Entry(
            offset, offset, workspace.encode(), source.encode(), f"{workspace}/{key}".encode(), size, deletion
        )
        self.entries.append(entry)
        self.progress.start(offset)
        self.shares.add(entry)

    def take(self) -> Batch[int] | None:
        batch = self.shares.take(MOST, BYTES)
        if batch is None:
            return None
        assert batch.entries
        assert len(batch.entries) <= MOST
        assert len(batch.entries) == 1 or batch.size <= BYTES
        for place, entry in enumerate(batch.entries):
            self._may_begin(entry, [each.offset for each in batch.entries[:place]])
        self.begun += [entry.offset for entry in batch.entries]
        self.open.append(batch)
        for kind in Kind:
            at_work = [each.workspace for each in self.open if each.kind is kind]
            assert len(at_work) <= AT_ONCE[kind]
            assert len(set(at_work)) == len(at_work), "one batch of a sequence at a time"
        return batch

    def _may_begin(self, entry: Entry[int], beside_it: list[int]) -> None:
        assert entry.offset not in self.begun, "begun twice"
        earlier = [each for each in self.entries if each.key == entry.key and each.offset < entry.offset]
        left = [each for each in earlier if each.offset not in self.finished and each.offset not in beside_it]
        if not entry.deletion:
            assert not left, "an earlier record of the key is queued or at work"
            return
        at_work = [each for each in left if each.offset in self.begun]
        assert self.deletions is Deletions.BESIDE or not at_work, "a deletion runs beside what is at work of its key"
        assert self.deletions is not Deletions.IN_ORDER or not left, "a deletion goes before what is queued of its key"
        assert not [each for each in left if each.deletion], "deletions of a key keep their order"

    def finish(self, which: int) -> None:
        if not self.open:
            return
        batch = self.open.pop(which % len(self.open))
        offsets = [entry.offset for entry in batch.entries]
        self.finished.update(offsets)
        self.progress.finish_all(offsets)
        self.shares.done(batch)
        self.committable_is_the_prefix()

    def committable_is_the_prefix(self) -> None:
        prefix = None
        for entry in self.entries:
            if entry.offset not in self.finished:
                break
            prefix = entry.offset + 1
        assert self.progress.committable == prefix

    def drain(self) -> None:
        while True:
            while self.take() is not None:
                pass
            if not self.open:
                return
            self.finish(0)


@settings(max_examples=300)
@given(steps, st.sampled_from(Deletions))
def test_every_record_is_begun_once_in_the_order_of_its_key_and_none_is_left(
    script: list[tuple[str, str, int, int, bool] | str | int], deletions: Deletions
) -> None:
    run = Run(deletions)
    for step in script:
        match step:
            case "take":
                run.take()
            case int():
                run.finish(step)
            case (workspace, source, key, size, deletion):
                run.add(workspace, source, key, size, deletion)
    run.drain()
    assert sorted(run.begun) == [entry.offset for entry in run.entries]
    assert not run.shares._keys, "nothing is kept of what is finished"
    assert not run.shares._sequences


@given(st.integers(1, 8), st.integers(1, 60), st.sampled_from([10, BULK_BYTES]))
def test_a_newcomer_waits_for_one_batch_of_each_other_workspace_at_most(floods: int, depth: int, size: int) -> None:
    shares: Shares[str] = Shares()
    offset = 0
    for _ in range(depth):
        for number in range(floods):
            shares.add(Entry("flood", offset, f"w{number}".encode(), b"s", f"{offset}".encode(), size))
            offset += 1
    open_ = [batch for _ in range(20) if (batch := shares.take(MOST, BYTES))]
    shares.add(Entry("calm", offset, b"calm", b"s", b"calm", size))
    served: dict[bytes, int] = defaultdict(int)
    while True:
        batch = shares.take(MOST, BYTES)
        if batch is None:
            shares.done(open_.pop(0))
            continue
        if batch.workspace == b"calm":
            break
        served[batch.workspace] += 1
        open_.append(batch)
    assert max(served.values(), default=0) <= 1


def test_sources_of_a_workspace_are_taken_in_turn() -> None:
    shares: Shares[str] = Shares()
    for offset in range(10):
        shares.add(Entry(f"a{offset}", offset, b"w", b"a", f"{offset}".encode(), 10))
    shares.add(Entry("b", 10, b"w", b"b", b"10", 10))
    batch = shares.take(4, BYTES)
    assert batch is not None
    assert [entry.item for entry in batch.entries] == ["a0", "b", "a1", "a2"]


def test_a_deletion_goes_before_what_is_queued_and_what_follows_it_stays_behind_it() -> None:
    shares: Shares[str] = Shares(Deletions.OVERTAKE)
    first, gone, again = (
        Entry(name, at, b"w", b"s", b"k", 10, name == "gone") for at, name in enumerate(("a", "gone", "b"))
    )
    for entry in (first, gone, again):
        shares.add(entry)
    batch = shares.take(10, BYTES)
    assert batch is not None
    assert batch.entries == [gone]
    assert shares.take(10, BYTES) is None, "what is at work of a key is alone"
    shares.done(batch)
    batch = shares.take(10, BYTES)
    assert batch is not None
    assert batch.entries == [first, again]
