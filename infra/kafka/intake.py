"""Takes records from the consumer for as long as the worker has room for them.

A partition that holds enough is left out of the polls by name; it is not paused. A poll throws away what was fetched
ahead of a paused partition, to fetch it again later (aiokafka 0.14.0): a busy stage, whose partitions fill up and drain
many times a second, stood still for a third of its time.
"""

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition

from infra.kafka.codec import Record
from infra.kafka.room import POLLED, Holder, Limits, Room
from infra.kafka.timing import Timing

_NONE = TopicPartition("", 0)
"""Polled when no partition has room: it brings nothing, tells of errors, and keeps the member in its group."""


class Queue(Holder, Protocol):
    """What an intake asks of a lane."""

    failure: Exception | None


class Intake:
    """Polls for all partitions of a worker, and tells which of them are full."""

    def __init__(self, queues: Mapping[TopicPartition, Queue], limits: Limits, timing: Timing) -> None:
        self._queues = queues
        self._limits = limits
        self._timing = timing
        self._full: dict[TopicPartition, int] = {}
        """With the records held when it filled up."""
        self._drained = asyncio.Event()
        self.polled_at = monotonic()
        """When a poll last ended well."""

    @property
    def full(self) -> int:
        """Partitions left out of the polls."""
        return len(self._full)

    async def next(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, list[Record]]:
        """Return the records of one poll, none if nothing came for a while. Raises as `getmany`."""
        # Before the look: what drains behind it must end the wait.
        self._drained.clear()
        self._look()
        at_once = max(1, self._limits.records // POLLED)
        if not self._full:
            return await self._poll(consumer, (), self._timing.poll_s, at_once)
        with_room = tuple(consumer.assignment() - self._full.keys())
        fetched = await self._poll(consumer, with_room or (_NONE,), 0, at_once)
        if not fetched:
            # What has room may get news while nothing drains, so that a look must not be far.
            await self._wait(self._timing.full_poll_s if with_room else self._timing.poll_s)
        return fetched

    def finished(self, partition: TopicPartition) -> None:
        """Take note that records of `partition` were finished."""
        held, queue = self._full.get(partition), self._queues.get(partition)
        if held is not None and (queue is None or queue.held * 2 <= held):
            self._drained.set()

    async def _poll(
        self, consumer: AIOKafkaConsumer, partitions: tuple[TopicPartition, ...], wait_s: float, at_once: int
    ) -> dict[TopicPartition, list[Record]]:
        fetched: dict[TopicPartition, list[Record]] = await consumer.getmany(
            *partitions, timeout_ms=round(wait_s * 1_000), max_records=at_once
        )
        self.polled_at = monotonic()
        return fetched

    async def _wait(self, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                await self._drained.wait()
        except TimeoutError:
            return

    def _look(self) -> None:
        """Leave out what holds enough or has failed, take back in what has drained, forget what was given up."""
        room = Room.of(self._limits, self._queues.values())
        was, self._full = self._full, {}
        for partition, queue in self._queues.items():
            over = not room.drained(queue) if partition in was else room.full(queue)
            if over or queue.failure is not None:
                self._full[partition] = was.get(partition, queue.held)
