"""Request and reply over the log: a gateway reads the one partition that it names in its requests.

The partition is assigned by hand, without a consumer group: a reply must reach the process that holds the client's
connection, and a group would move partitions between gateways. Several gateways may read one partition; each keeps
only the replies to requests that it is waiting for.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Self
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from infra.errors import Permanent, Transient
from infra.kafka.codec import Record, decode
from infra.kafka.retry import Backoff
from infra.objects.store import ObjectStore
from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, count
from schemas.chat import ChatReply, ReplyTo
from topics.catalogue import CHAT_REPLIES

log = logger(__name__)
MAX_WAITING_PARTS = 1_000
"""Reply events held for one slow reader; more ends its request, so that memory stays bounded."""


class Replies:
    """The replies to one request, in the order of their sequence numbers."""

    def __init__(self, workspace: str) -> None:
        self.workspace = workspace
        self._queue: asyncio.Queue[ChatReply] = asyncio.Queue(MAX_WAITING_PARTS)
        self._next = 0

    def put(self, reply: ChatReply) -> None:
        """Take a reply; one seen before (a redelivery) is dropped."""
        if reply.sequence < self._next and reply.kind == "delta":
            count(Metric.REPLIES_DROPPED_TOTAL, "repeated")
            return
        self._next = reply.sequence + 1
        try:
            self._queue.put_nowait(reply)
        except asyncio.QueueFull:
            count(Metric.REPLIES_DROPPED_TOTAL, "slow_reader")

    async def __aiter__(self) -> AsyncIterator[ChatReply]:
        """Yield replies up to and including the last one. Bound the wait with `asyncio.timeout`."""
        while True:
            reply = await self._queue.get()
            yield reply
            if reply.kind != "delta":
                return


class ReplyReader:
    """Reads this gateway's partition of `chat.replies` and hands each reply to whoever waits for it."""

    def __init__(self, bootstrap: Sequence[str], gateway: str, objects: ObjectStore) -> None:
        self._bootstrap = list(bootstrap)
        self._gateway = gateway
        self._objects = objects
        self._waiting: dict[UUID, Replies] = {}
        self._partition = zlib.crc32(gateway.encode()) % CHAT_REPLIES.partitions
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    @classmethod
    async def open(cls, bootstrap: Sequence[str], gateway: str, objects: ObjectStore) -> Self:
        """Start reading from the end of the partition. Returns at once; `ready` tells when it is reading."""
        reader = cls(bootstrap, gateway, objects)
        reader._task = asyncio.create_task(reader._read(), name="chat replies")
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
        try:
            async with asyncio.timeout(within_s):
                await self._ready.wait()
        except TimeoutError as error:
            raise Transient("kafka", "replies cannot be read yet") from error

    @contextmanager
    def expect(self, request_id: UUID, workspace: str) -> Iterator[Replies]:
        """Wait for the replies to `request_id` inside the context; enter it before the request is published."""
        replies = Replies(workspace)
        self._waiting[request_id] = replies
        try:
            yield replies
        finally:
            del self._waiting[request_id]

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        attempt = 0
        while True:
            consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False, fetch_min_bytes=1)
            partition = TopicPartition(CHAT_REPLIES.name, self._partition)
            try:
                await consumer.start()
                consumer.assign([partition])
                await consumer.seek_to_end(partition)
                await consumer.position(partition)
                self._ready.set()
                attempt = 0
                async for record in consumer:
                    await self._dispatch(record)
            except KafkaError as error:
                attempt += 1
                self._ready.clear()
                log.warning("cannot read replies", cause=type(error).__name__)
                await asyncio.sleep(Backoff().delay(attempt))
            finally:
                await consumer.stop()

    async def _dispatch(self, record: Record) -> None:
        try:
            delivery = await decode(record, CHAT_REPLIES, self._objects)
        except (Permanent, Transient) as error:
            count(Metric.REPLIES_DROPPED_TOTAL, "unreadable")
            log.warning("unreadable reply", offset=record.offset, cause=str(error))
            return
        if delivery is None:
            return
        reply: ChatReply = delivery.body
        replies = self._waiting.get(reply.request_id)
        if reply.gateway != self._gateway:
            count(Metric.REPLIES_DROPPED_TOTAL, "foreign")
        elif replies is None:
            count(Metric.REPLIES_DROPPED_TOTAL, "late")
        elif replies.workspace != reply.workspace:
            count(Metric.REPLIES_DROPPED_TOTAL, "forged")
        else:
            replies.put(reply)
