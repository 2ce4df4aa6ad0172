"""The queue of one partition: order, concurrency, back-pressure, and what may be committed.

Records of a `Micro` subscription take turns by workspace (`infra.queueing.shares`): what one workspace sends holds up
its own, and whatever is finished first, only the contiguous finished prefix is committed.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Generic, TypeVar

from aiokafka import TopicPartition

from infra.kafka.codec import Record, body_bytes, sorting
from infra.kafka.handling import Handling, Stopping
from infra.kafka.outcomes import CeilingReached, WorkspaceStopped
from infra.kafka.progress import Progress
from infra.kafka.waiting import Waiting, enter
from infra.kafka.worker import Each, Micro, Subscription
from infra.queueing.shares import Batch, Deletions, Entry, Shares
from infra.telemetry.logs import logger

Tools = TypeVar("Tools")
log = logger(__name__)


OVERHEAD = 2_500
"""Bytes that a fetched record takes besides key and value: mostly its dozen headers as Python objects (measured)."""
READ_PAST = 100_000
"""Records taken up behind one of a stopped workspace that are remembered, about 10 MB; then the partition stops too."""
_AT_ONCE = 16
"""Records taken up before the loop is left to others: decoding a thousand prompts alone would hold it for 0.1 s."""


class Lane(Generic[Tools]):
    """Handles the records of one assigned partition until it is closed."""

    def __init__(
        self,
        partition: TopicPartition,
        subscription: Subscription[Tools],
        handling: Handling[Tools],
        finished: Callable[[TopicPartition], None] = lambda _: None,
    ) -> None:
        self.partition = partition
        self.progress = Progress()
        self.failure: Exception | None = None
        self._subscription = subscription
        self._handling = handling
        self._finished = finished
        self._waiting = Waiting(self._moved_on)
        self._queue: deque[Record] = deque()
        """Of a subscription that takes records one by one."""
        mode = subscription.mode
        self._shares: Shares[Record] = Shares(mode.deletions if isinstance(mode, Micro) else Deletions.IN_ORDER)
        self._batched = isinstance(mode, Micro)
        self._held_records = 0
        self._held_bytes = 0
        self._committable: int | None = None
        """As it was when records were let go last."""
        self._arrived = asyncio.Event()
        self._closing = False
        self._advanced_at = monotonic()
        self._next: int | None = None
        self.reads_past: bool = False
        """Whether records of a stopped workspace stay behind, uncommitted, to be delivered again after a restart."""
        self._task = asyncio.create_task(self._run(), name=f"lane {partition.topic}-{partition.partition}")

    @property
    def held(self) -> int:
        """Records offered and not yet finished."""
        return self._held_records

    @property
    def idle_s(self) -> float:
        """Seconds since the finished prefix grew, a record got its turn, a retry was waited for, or the first came."""
        return monotonic() - max(self._advanced_at, self._handling.waited_at)

    @property
    def held_bytes(self) -> int:
        """What they take in memory, about."""
        return self._held_bytes + self._held_records * OVERHEAD

    def skipped(self, records: Sequence[Record]) -> int:
        """Return how many offsets lie between what was offered last and `records`.

        Compaction leaves gaps by design; in any other topic (nothing here writes transactions) retention has deleted
        records before they were fetched.
        """
        if self._next is None or not records or self._subscription.topic.compacted:
            return 0
        return max(0, records[0].offset - self._next)

    def offer(self, records: Sequence[Record]) -> None:
        """Take over fetched records, in offset order. Never blocks: polling must go on."""
        if not self._held_records:
            self._advanced_at = monotonic()
        for record in records:
            self.progress.start(record.offset)
            if self._batched:
                self._shares.add(_entry(record))
            else:
                self._queue.append(record)
            self._held_records += 1
            self._held_bytes += _fetched(record)
            self._next = record.offset + 1
        self._arrived.set()

    async def close(self, grace_s: float) -> None:
        """Stop taking up records; let those at work finish for `grace_s`, then give them up uncommitted.

        Those that only wait for their turn are given up at once.
        """
        self._closing = True
        self._waiting.give_back()
        self._handling.stopping.set()
        self._arrived.set()
        _, late = await asyncio.wait([self._task], timeout=grace_s)
        for task in late:
            task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            match self._subscription.mode:
                case Micro() as mode:
                    await self._run_batches(mode)
                case Each() as mode:
                    await self._run_each(mode)
        except Stopping:
            return
        except Exception as failure:  # noqa: BLE001 - shown by the runtime's health and log
            self.failure = failure

    async def _run_batches(self, mode: Micro) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                while not self._closing:
                    self._arrived.clear()
                    while not self._closing and (taken := self._shares.take(mode.records, mode.bytes)):
                        group.create_task(self._batch(taken))
                        # The batch begins, and others get the loop, before more is taken.
                        await asyncio.sleep(0)
                    await self._arrived.wait()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures

    async def _batch(self, taken: Batch[Record]) -> None:
        enter(self._waiting)
        batch = [entry.item for entry in taken.entries]
        # A body in the object store is in memory from here on, and was not before.
        fetching = taken.size - sum(map(_fetched, batch))
        self._held_bytes += fetching
        try:
            await self._settle(batch)
        finally:
            self._held_bytes -= fetching
        self._shares.done(taken)
        self._arrived.set()

    async def _run_each(self, mode: Each) -> None:
        tails: dict[bytes | None, asyncio.Task[None]] = {}
        slots = asyncio.Semaphore(mode.concurrency)
        try:
            async with asyncio.TaskGroup() as group:
                while await self._something():
                    await slots.acquire()
                    if self._closing:
                        break
                    record = self._queue.popleft()
                    earlier = tails.get(record.key)
                    task = group.create_task(self._one(record, earlier))
                    tails[record.key] = task
                    task.add_done_callback(_forget(tails, record.key, slots))
                    if record.offset % _AT_ONCE == 0:
                        await asyncio.sleep(0)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures

    async def _one(self, record: Record, earlier: asyncio.Task[None] | None) -> None:
        enter(self._waiting)
        if earlier is not None:
            # Records of one key stay in order, whatever the concurrency.
            await asyncio.wait([earlier])
        await self._settle([record])

    async def _something(self) -> bool:
        """Wait for a record; False when the lane closes."""
        while not self._queue and not self._closing:
            self._arrived.clear()
            await self._arrived.wait()
        return not self._closing

    def _moved_on(self) -> None:
        # A long queue stands behind few answers at once: as long as turns are given, the partition is not stuck.
        self._advanced_at = monotonic()

    async def _settle(self, records: Sequence[Record]) -> None:
        """Finish the records, or let them go unfinished. Raises as `Handling.settle`, but for a stopped workspace."""
        try:
            await self._handling.settle(records, self._subscription)
        except WorkspaceStopped as stopped:
            if not self.reads_past:
                where = f"{self.partition.topic}-{self.partition.partition}"
                log.warning("reading past a workspace", partition=where, offset=records[0].offset, stopped=str(stopped))
            self.reads_past = True
        else:
            self.progress.finish_all([record.offset for record in records])
        self._let_go(records)
        if self.reads_past and self.progress.started > READ_PAST:
            raise CeilingReached(f"{self.progress.started} records stand behind one of a stopped workspace")

    def _let_go(self, records: Sequence[Record]) -> None:
        # Behind a stopped workspace nothing is committed, and yet the others go on.
        if self.reads_past or self.progress.committable != self._committable:
            self._advanced_at = monotonic()
        self._committable = self.progress.committable
        self._held_records -= len(records)
        self._held_bytes -= sum(map(_fetched, records))
        self._finished(self.partition)


def _forget(
    tails: dict[bytes | None, asyncio.Task[None]], key: bytes | None, slots: asyncio.Semaphore
) -> Callable[[asyncio.Task[None]], None]:
    def done(task: asyncio.Task[None]) -> None:
        slots.release()
        if tails.get(key) is task:
            del tails[key]

    return done


def _entry(record: Record) -> Entry[Record]:
    workspace, source, deletion = sorting(record)
    return Entry(record, record.offset, workspace, source, record.key, _size(record), deletion)


def _size(record: Record) -> int:
    # A body in the object store counts already here: it is fetched while its batch is handled.
    return body_bytes(record) + len(record.key or b"") + 100


def _fetched(record: Record) -> int:
    """What a record takes in memory until it is handled: its body too, unless that stands in the object store."""
    return len(record.value or b"") + len(record.key or b"") + 100
