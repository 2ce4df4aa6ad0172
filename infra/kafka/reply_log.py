"""Reads the replies to one request back from the log, and on to their end, wherever they were sent.

Used for requests that another gateway asked, or that this one asked earlier. All who follow a partition share one
consumer: a newcomer rewinds it to where its request was accepted. The others then meet replies again that they have,
which changes nothing for them, and a thousand streams that come back at once cost a few readings of the partition and
not a thousand. Only records that carry a followed request's key are decoded.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from infra.ending import end
from infra.kafka.answers import Replies, reply_in
from infra.kafka.codec import Record
from infra.kafka.connection import check_fetching
from infra.kafka.retry import Backoff
from infra.objects.store import ObjectStore
from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, count
from topics.catalogue import CHAT_REPLIES

log = logger(__name__)

SKEW_MS = 30_000
"""Replies carry the clock of the worker that wrote them: reading begins this much before the request's own time."""
POLL_MS = 50
"""How long a newcomer may wait for a poll to end."""
FETCH_MS = 100
"""How long the broker holds an empty fetch; a rewind has to wait for it."""
LINGER_S = 10.0
"""For how long a partition that nobody follows keeps its consumer: a connection costs more than an idle poll."""


@dataclass(slots=True)
class _Follower:
    replies: Replies
    key: bytes
    """Of the records that are its replies."""
    since_ms: int
    until: int = -1
    """End of the partition when following began."""


@dataclass(slots=True)
class _Partition:
    number: int
    followers: list[_Follower] = field(default_factory=list)
    newcomers: list[_Follower] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def place(self) -> TopicPartition:
        return TopicPartition(CHAT_REPLIES.name, self.number)

    def all(self) -> list[_Follower]:
        return self.followers + self.newcomers


class ReplyLog:
    """Follows requests in any partition of `chat.replies`."""

    def __init__(self, bootstrap: Sequence[str], objects: ObjectStore) -> None:
        self._bootstrap = list(bootstrap)
        self._objects = objects
        self._partitions = {number: _Partition(number) for number in range(CHAT_REPLIES.partitions)}

    @contextmanager
    def follow(self, request_id: UUID, workspace: str, partition: int, since: datetime) -> Iterator[Replies]:
        """Yield the replies to a request that was accepted at `since`; those of another workspace are not seen.

        `Replies.caught_up` is set when all that the log held has been read. While the broker is away nothing comes:
        bound the waits. Raises ValueError for a partition that the topic does not have.
        """
        if partition not in self._partitions:
            raise ValueError(f"{CHAT_REPLIES.name} has no partition {partition}")
        read = self._partitions[partition]
        follower = _Follower(
            Replies(workspace), str(request_id).encode(), max(0, round(since.timestamp() * 1000) - SKEW_MS)
        )
        read.newcomers.append(follower)
        read.changed.set()
        if read.task is None or read.task.done():
            read.task = asyncio.create_task(self._read(read), name=f"replies of partition {partition}")
        try:
            yield follower.replies
        finally:
            for group in (read.followers, read.newcomers):
                if follower in group:
                    group.remove(follower)

    async def close(self) -> None:
        """Stop reading."""
        tasks = [partition.task for partition in self._partitions.values() if partition.task is not None]
        await end(*tasks)

    async def _read(self, read: _Partition) -> None:
        """Read until nobody has followed for a while."""
        attempt = 0
        while read.all():
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._bootstrap,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=FETCH_MS,
            )
            try:
                await consumer.start()
                consumer.assign([read.place])
                # After a failure everybody begins again: what they have is not told twice.
                read.newcomers, read.followers = read.all(), []
                await self._serve(consumer, read)
                attempt = 0
            except (KafkaError, RuntimeError) as error:
                attempt += 1
                log.warning("cannot read replies back", partition=read.number, cause=type(error).__name__)
            finally:
                await consumer.stop()
            if attempt:
                await asyncio.sleep(Backoff().delay(attempt))

    async def _serve(self, consumer: AIOKafkaConsumer, read: _Partition) -> None:
        position: int | None = None
        while await _wanted(read):
            if read.newcomers:
                position = await _rewind(consumer, read, position)
            records = (await consumer.getmany(read.place, timeout_ms=POLL_MS)).get(read.place, ())
            followed = {follower.key for follower in read.followers}
            for record in records:
                if record.key in followed:
                    await self._hand(record, [each for each in read.followers if each.key == record.key])
            check_fetching(consumer)
            position = await consumer.position(read.place)
            for follower in read.followers:
                if follower.until <= position:
                    follower.replies.caught_up.set()

    async def _hand(self, record: Record, followers: Sequence[_Follower]) -> None:
        reply = await reply_in(record, self._objects)
        if reply is None:
            return
        for follower in followers:
            if reply.workspace == follower.replies.workspace:
                follower.replies.put(reply)
            else:
                count(Metric.REPLIES_DROPPED_TOTAL, "forged")


async def _wanted(read: _Partition) -> bool:
    """Say whether anybody follows, waiting a while for somebody who comes."""
    if read.all():
        return True
    read.changed.clear()
    try:
        async with asyncio.timeout(LINGER_S):
            await read.changed.wait()
    except TimeoutError:
        return bool(read.all())
    return True


async def _rewind(consumer: AIOKafkaConsumer, read: _Partition, position: int | None) -> int:
    """Go back to where the earliest newcomer's request was accepted; return the position."""
    newcomers = list(read.newcomers)
    end = (await consumer.end_offsets([read.place]))[read.place]
    times = {read.place: min(follower.since_ms for follower in newcomers)}
    found = (await consumer.offsets_for_times(times)).get(read.place)
    # No record is so young: there is nothing to read back.
    start = end if found is None else int(found.offset)
    if position is None or start < position or not read.followers:
        consumer.seek(read.place, start)
        position = start
    for follower in newcomers:
        follower.until = end
        # It may have left while the broker was asked.
        if follower in read.newcomers:
            read.newcomers.remove(follower)
            read.followers.append(follower)
    return position
