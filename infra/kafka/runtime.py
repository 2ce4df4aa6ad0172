"""Runs one worker on the log: assignment, polling, back-pressure, commits.

FastStream makes the subscriber (settings, connection, group membership, rebalance listener); the records are read here
and no handler is registered with it, so that none of its acknowledgement policies ever runs
(docs/decisions/0001-faststream-and-our-own-delivery.md).

Order of a record's life: effects, publications, finished, committed. A commit covers the contiguous finished prefix of
each partition and is written in the background; what a crash leaves uncommitted is delivered again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any, Generic, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaError

from infra.ending import end
from infra.errors import Transient
from infra.kafka import connection, failpoints, retention
from infra.kafka.failpoints import Point
from infra.kafka.handling import Handling
from infra.kafka.intake import Intake
from infra.kafka.lane import Lane
from infra.kafka.membership import Membership
from infra.kafka.outcomes import Ceiling
from infra.kafka.producer import Publisher
from infra.kafka.rebalance import Rebalance
from infra.kafka.retry import Backoff
from infra.kafka.room import Limits
from infra.kafka.timing import Timing
from infra.kafka.worker import Subscription, Worker
from infra.objects.store import ObjectStore
from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, count, gauge

Tools = TypeVar("Tools")
log = logger(__name__)


class Runtime(Generic[Tools]):
    """One worker's membership of its consumer group."""

    def __init__(
        self,
        worker: Worker[Tools],
        bootstrap: Iterable[str],
        publisher: Publisher,
        objects: ObjectStore,
        *,
        limits: Limits | None = None,
        timing: Timing | None = None,
        ceiling: int = 500,
        instance: str = "",
    ) -> None:
        self.worker = worker
        self._publisher = publisher
        self._objects = objects
        self._timing = timing or Timing()
        self._membership = Membership(bootstrap, worker.group_id, self._timing, instance)
        self._ceiling = Ceiling(ceiling)
        self._subscriptions = {subscription.topic.name: subscription for subscription in worker.subscriptions}
        self._lanes: dict[TopicPartition, Lane[Tools]] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._committing = asyncio.Lock()
        self._resources = AsyncExitStack()
        self._tools: Tools
        self._tasks: list[asyncio.Task[None]] = []
        self._intake = Intake(self._lanes, limits or worker.limits, self._timing)
        self._stopping = asyncio.Event()

    @property
    def name(self) -> str:
        """Name of the worker."""
        return self.worker.name

    async def run(self) -> None:
        """Run until `stop` is called. Raises what ended it if it was anything else."""
        try:
            await self._patiently(self._open_tools)
            if self._stopping.is_set():
                return
            if self._subscriptions:
                await self._patiently(self._subscribe)
                self._begin(self._consume(), "consume")
                self._begin(self._commit_regularly(), "commit")
            if self.worker.background is not None:
                self._begin(self._background(), "background")
            stop = asyncio.create_task(self._stopping.wait())
            ended, _ = await asyncio.wait([stop, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            for task in ended - {stop}:
                task.result()
                if not self._stopping.is_set():
                    raise RuntimeError(f"{self.worker.name}: {task.get_name()} ended by itself")
        finally:
            await self._shut_down()

    def stop(self) -> None:
        """Ask `run` to finish what is at work, commit, and return."""
        self._stopping.set()

    def faults(self) -> list[str]:
        """Return what is wrong with this worker now, empty if it is healthy. For readiness and liveness."""
        faults = [
            f"{lane.partition.topic}-{lane.partition.partition} stopped: {lane.failure}"
            for lane in self._lanes.values()
            if lane.failure is not None
        ]
        if self._subscriptions and not self._membership.joined:
            faults.append("not in its consumer group yet")
        elif self._subscriptions and monotonic() - self._intake.polled_at > self._timing.stalled_after_s:
            faults.append(f"has not polled for {monotonic() - self._intake.polled_at:.0f} s")
        return faults + self._ceiling.faults() + self.stuck()

    def stuck(self) -> list[str]:
        """Return the partitions that make no progress although nothing is being waited for. For liveness."""
        return [
            f"{lane.partition.topic}-{lane.partition.partition} stuck for {lane.idle_s:.0f} s"
            for lane in self._lanes.values()
            if lane.failure is None and lane.held and lane.idle_s > self._timing.stuck_after_s
        ]

    async def _patiently(self, step: Callable[[], Awaitable[None]]) -> None:
        """Take `step`, again and again while a dependency is away: ending and being started anew would gain nothing."""
        backoff = Backoff()
        attempt = 0
        while True:
            attempt += 1
            try:
                return await step()
            except Transient as error:
                delay = backoff.delay(attempt)
                log.warning("waiting for a dependency", worker=self.worker.name, cause=str(error), delay_s=delay)
                try:
                    async with asyncio.timeout(delay):
                        await self._stopping.wait()
                except TimeoutError:
                    continue
                raise

    async def _open_tools(self) -> None:
        self._tools = await self._resources.enter_async_context(self.worker.tools())

    def _begin(self, work: Any, name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=f"{self.worker.name} {name}"))

    async def _background(self) -> None:
        if self.worker.background is not None:
            await self.worker.background(self._tools, self._publisher.publish)

    async def _subscribe(self) -> None:
        await self._membership.join(self._subscriptions, Rebalance(self, self._timing.revoke_grace_s))
        log.info("consuming", worker=self.worker.name, group=self.worker.group_id, topics=list(self._subscriptions))

    async def _consume(self) -> None:
        consumer = self._membership.consumer
        failures = 0
        while not self._stopping.is_set():
            try:
                fetched = await self._intake.next(consumer)
            except ConsumerStoppedError:
                return
            except KafkaError as error:
                failures += 1
                log.warning("cannot fetch", worker=self.worker.name, cause=type(error).__name__)
                await asyncio.sleep(Backoff().delay(failures))
                continue
            failures = 0
            # No await from here to the offers: a rebalance in between would hand records to a lane given up.
            for partition, records in fetched.items():
                lane = self._lane(partition)
                if skipped := lane.skipped(records):
                    retention.alarm(self.worker.name, partition, records[0].offset - skipped, records[0].offset)
                lane.offer(records)
            self._report(consumer)

    def _lane(self, partition: TopicPartition) -> Lane[Tools]:
        if partition not in self._lanes:
            handling = Handling(self.worker.name, self._tools, self._publisher, self._objects, ceiling=self._ceiling)
            subscription: Subscription[Tools] = self._subscriptions[partition.topic]
            self._lanes[partition] = Lane(partition, subscription, handling, self._intake.finished)
        return self._lanes[partition]

    def _report(self, consumer: AIOKafkaConsumer) -> None:
        gauge(Metric.PAUSED_PARTITIONS, self._intake.full, self.worker.name, "full")
        gauge(Metric.IN_FLIGHT, sum(lane.held for lane in self._lanes.values()), self.worker.name)
        lag = dict.fromkeys(self._subscriptions, 0)
        for partition, lane in self._lanes.items():
            end = consumer.highwater(partition)
            done = lane.progress.committable
            if end is not None and done is not None:
                lag[partition.topic] += max(0, end - done)
        for topic, records in lag.items():
            gauge(Metric.LAG, records, self.worker.name, topic)

    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._timing.commit_every_s)
            await self.commit(self._lanes)
            self._report_failures()
            if self._membership.joined:
                connection.check_fetching(self._membership.consumer)
                self._report(self._membership.consumer)

    def _report_failures(self) -> None:
        for lane in self._lanes.values():
            if lane.failure is not None or lane.reads_past:
                gauge(Metric.PAUSED_PARTITIONS, 1, self.worker.name, "stopped")

    async def commit(self, partitions: Iterable[TopicPartition]) -> None:
        """Commit the finished prefix of `partitions` where it has grown.

        A refused commit (the group has moved on) is counted and left: whoever owns the partition now starts from the
        older offset, and the sinks' version gates make the repetition harmless.
        """
        async with self._committing:
            offsets = {
                partition: offset
                for partition in partitions
                if partition in self._lanes
                and (offset := self._lanes[partition].progress.committable) is not None
                and offset != self._committed.get(partition)
            }
            if not offsets:
                return
            try:
                if failpoints.ARMED:
                    await failpoints.reach(Point.BEFORE_COMMIT, self.worker.name)
                async with asyncio.timeout(self._timing.commit_within_s):
                    await self._membership.consumer.commit(offsets)
                if failpoints.ARMED:
                    await failpoints.reach(Point.AFTER_COMMIT, self.worker.name)
            except (KafkaError, IllegalStateError, TimeoutError) as error:
                count(Metric.COMMITS_TOTAL, self.worker.name, "refused")
                log.warning("commit refused", worker=self.worker.name, cause=type(error).__name__)
            else:
                count(Metric.COMMITS_TOTAL, self.worker.name, "done")
                self._committed.update(offsets)

    async def give_up(self, partitions: Iterable[TopicPartition], grace_s: float) -> None:
        """Finish what is at work in `partitions`, commit it, forget them."""
        given = {partition: self._lanes[partition] for partition in partitions if partition in self._lanes}
        await asyncio.gather(*(lane.close(grace_s) for lane in given.values()))
        await self.commit(given)
        for partition, lane in given.items():
            # A stop may meet a rebalance, and each gives the same lanes up: what the other forgot is gone already.
            if self._lanes.get(partition) is lane:
                del self._lanes[partition]
                self._committed.pop(partition, None)

    async def forget_strays(self) -> None:
        """Drop lanes that a poll made of an assignment already given up: their records come again."""
        strays = list(self._lanes.values())
        self._lanes.clear()
        self._committed.clear()
        await asyncio.gather(*(lane.close(0) for lane in strays))

    async def check_retention(self, partitions: Iterable[TopicPartition]) -> None:
        """Raise the alarm if records of `partitions` were deleted that this group has not read."""
        await retention.check(
            self.worker.name, self._membership.consumer, list(partitions), self._timing.commit_within_s
        )

    async def _shut_down(self) -> None:
        consuming = [task for task in self._tasks if not task.get_name().endswith(" commit")]
        for task in consuming:
            task.cancel()
        try:
            if self._lanes:
                await self.give_up(list(self._lanes), self._timing.stop_grace_s)
        finally:
            await end(*self._tasks)
            try:
                await self._membership.leave()
            finally:
                await self._resources.aclose()
