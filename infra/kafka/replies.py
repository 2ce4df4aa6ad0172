"""Request and reply over the log: a gateway reads the one partition that it names in its requests.

The partition is assigned by hand, without a consumer group: a reply must reach the process that holds the client's
connection, and a group would move partitions between gateways. Which partition is a gateway's own is settled by a
lease. Without one (the leases' server is away, or there are more gateways than partitions) several gateways read one
partition: each keeps only the replies to requests that it is waiting for, so that costs reading and nothing else.
"""

import asyncio
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, Self
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from infra.ending import end
from infra.errors import Permanent, Transient
from infra.kafka.answers import Replies, reply_in
from infra.kafka.codec import Record
from infra.kafka.connection import check_fetching
from infra.kafka.retry import Backoff
from infra.objects.store import ObjectStore
from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, count
from schemas.chat import ReplyTo
from topics.catalogue import CHAT_REPLIES

log = logger(__name__)

LEASE_NAME = CHAT_REPLIES.name
LEASE_S = 15.0
"""A gateway that is silent for so long has lost its partition to whoever wants it."""
RENEW_S = 5.0
"""Two renewals may fail before the lease ends."""
POLL_MS = 500
"""How long a change of partition may wait for a poll to end; replies themselves wake it."""


class Leases(Protocol):
    """A hold on a partition."""

    async def take(self, wanted: int) -> int | None:
        """Return the partition held, renewed; None if all are taken. Raises Transient."""

    async def release(self) -> None:
        """Give it back. Raises Transient."""


@dataclass(frozen=True, slots=True)
class _Waiter:
    replies: Replies
    partition: int


class ReplyReader:
    """Reads this gateway's partition of `chat.replies` and hands each reply to whoever waits for it."""

    def __init__(self, bootstrap: Sequence[str], gateway: str, objects: ObjectStore, lease: Leases | None) -> None:
        self._bootstrap = list(bootstrap)
        self._gateway = gateway
        self._objects = objects
        self._lease = lease
        self._waiting: dict[UUID, list[_Waiter]] = {}
        self._wanted = zlib.crc32(gateway.encode()) % CHAT_REPLIES.partitions
        self._partition = self._wanted
        self._next: dict[int, int] = {}
        """Offset of the next record per partition being read: a lost connection loses no reply."""
        self._tasks: list[asyncio.Task[None]] = []
        self._placed = asyncio.Event()
        self._ready = asyncio.Event()

    @classmethod
    async def open(
        cls, bootstrap: Sequence[str], gateway: str, objects: ObjectStore, lease: Leases | None = None
    ) -> Self:
        """Start reading from the end of the partition. Returns at once; `ready` tells when it is reading."""
        reader = cls(bootstrap, gateway, objects, lease)
        reader._tasks = [
            asyncio.create_task(reader._hold(), name="reply partition"),
            asyncio.create_task(reader._read(), name="chat replies"),
        ]
        return reader

    @property
    def reply_to(self) -> ReplyTo:
        """Where replies must be sent to reach this gateway."""
        return ReplyTo(partition=self._partition, gateway=self._gateway)

    @property
    def ready(self) -> bool:
        """Whether replies are being read; a request sent before could miss its answer."""
        return self._ready.is_set()

    async def wait_ready(self, within_s: float) -> None:
        """Wait until replies are being read. Raises Transient("kafka")."""
        if self._ready.is_set():
            return
        try:
            async with asyncio.timeout(within_s):
                await self._ready.wait()
        except TimeoutError as error:
            raise Transient("kafka", "replies cannot be read yet") from error

    @contextmanager
    def expect(self, request_id: UUID, workspace: str) -> Iterator[Replies]:
        """Wait for the replies to `request_id`, sent where `reply_to` says now, inside the context.

        Enter it before the request is published.
        """
        waiter = _Waiter(Replies(workspace), self._partition)
        self._waiting.setdefault(request_id, []).append(waiter)
        try:
            yield waiter.replies
        finally:
            waiters = self._waiting[request_id]
            waiters.remove(waiter)
            if not waiters:
                del self._waiting[request_id]

    async def close(self) -> None:
        """Stop reading and give the partition back."""
        await end(*self._tasks)
        if self._lease is not None:
            try:
                await self._lease.release()
            except Transient as error:
                log.warning("a reply partition stays leased until its time is up", cause=error.detail)

    async def _hold(self) -> None:
        """Keep a partition leased; a lost one is replaced by the first that is free."""
        leased: bool | None = None
        while self._lease is not None:
            place, cause = None, "all are taken"
            try:
                place = await self._lease.take(self._wanted)
            except (Transient, Permanent) as error:
                cause = error.detail
            if place is not None and place != self._wanted:
                log.info("reads another reply partition", partition=place)
                self._wanted = place
            if place is None and leased is not False:
                log.warning("shares a reply partition", partition=self._wanted, cause=cause)
            leased = place is not None
            self._placed.set()
            await asyncio.sleep(RENEW_S)
        self._placed.set()

    async def _read(self) -> None:
        await self._placed.wait()
        attempt = 0
        while True:
            consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False, fetch_min_bytes=1)
            try:
                await consumer.start()
                while True:
                    assigned = await self._assign(consumer)
                    attempt = 0
                    await self._serve(consumer, assigned)
            except (KafkaError, RuntimeError) as error:
                attempt += 1
                self._ready.clear()
                log.warning("cannot read replies", cause=type(error).__name__)
                await asyncio.sleep(Backoff().delay(attempt))
            finally:
                await consumer.stop()

    async def _assign(self, consumer: AIOKafkaConsumer) -> set[int]:
        """Read the wanted partition, and each that was named in requests still waited for."""
        wanted = self._wanted
        numbers = {wanted} | self._named()
        self._next = {number: offset for number, offset in self._next.items() if number in numbers}
        consumer.assign([TopicPartition(CHAT_REPLIES.name, number) for number in numbers])
        for number in numbers:
            partition = TopicPartition(CHAT_REPLIES.name, number)
            if number in self._next:
                consumer.seek(partition, self._next[number])
            else:
                await consumer.seek_to_end(partition)
                self._next[number] = await consumer.position(partition)
        # Named in requests only from now on: a reply sent there earlier would have been missed.
        self._partition = wanted
        self._ready.set()
        return numbers

    def _named(self) -> set[int]:
        return {waiter.partition for waiters in self._waiting.values() for waiter in waiters}

    async def _serve(self, consumer: AIOKafkaConsumer, assigned: set[int]) -> None:
        """Hand out replies until other partitions are to be read."""
        while self._wanted == self._partition and (len(assigned) == 1 or assigned == {self._wanted} | self._named()):
            for partition, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
                for record in records:
                    await self._dispatch(record)
                    self._next[partition.partition] = record.offset + 1
            check_fetching(consumer)

    async def _dispatch(self, record: Record) -> None:
        reply = await reply_in(record, self._objects)
        if reply is None:
            return
        waiters = self._waiting.get(reply.request_id)
        if reply.gateway != self._gateway:
            count(Metric.REPLIES_DROPPED_TOTAL, "foreign")
        elif waiters is None:
            count(Metric.REPLIES_DROPPED_TOTAL, "late")
        elif waiters[0].replies.workspace != reply.workspace:
            count(Metric.REPLIES_DROPPED_TOTAL, "forged")
        else:
            for waiter in waiters:
                waiter.replies.put(reply)
