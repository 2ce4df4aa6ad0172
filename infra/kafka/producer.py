"""The one way to publish: acks=all, idempotent, acknowledged before it returns."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from time import perf_counter
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from infra.errors import Permanent, Transient
from infra.kafka.codec import Encoded, encode
from infra.objects.store import ObjectStore
from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, count, observe
from schemas.dead_letters import Reason
from schemas.envelope import Envelope
from schemas.event import Event
from topics.catalogue import Topic

log = logger(__name__)

MAX_REQUEST_BYTES = 2 * 1024 * 1024
"""Largest topic limit (768 KiB) plus headers, with room; the broker's own limit is set by the stack."""
BATCH_BYTES = 256 * 1024
"""Most that is sent to one partition at once. aiokafka's 16 KiB take a round trip for every dozen events; a quarter of
the broker's own limit leaves room for what a record adds."""
MANY = 8
"""From so many records on, batches are made here: less work per record, one acknowledgement per batch."""
CLOSE_S = 3.0
"""How long closing waits for the broker: a stopping process has 30 s for everything."""
_SIZE_ERRORS = (MessageSizeTooLargeError, RecordTooLargeError)
_REFUSALS = (*_SIZE_ERRORS, InvalidTopicError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError)


class Publisher:
    """Publishes events and waits for every in-sync replica.

    `patience_s` bounds how long a call waits for the broker. After it the call fails with Transient although the record
    may still arrive: ids are deterministic, so the caller's next try is the same event.
    """

    def __init__(self, bootstrap: Sequence[str], objects: ObjectStore, patience_s: float) -> None:
        self._bootstrap = list(bootstrap)
        self._objects = objects
        self._patience_s = patience_s
        self._producer: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()

    @classmethod
    async def open(cls, bootstrap: Sequence[str], objects: ObjectStore, patience_s: float = 30) -> Self:
        """Return a publisher; the first publication connects. `bootstrap` holds host:port entries."""
        return cls(bootstrap, objects, patience_s)

    async def close(self, within_s: float = CLOSE_S) -> None:
        """Send what is buffered, then disconnect; after `within_s` without a broker, disconnect with a warning.

        Nothing is lost by that: whatever was not acknowledged was not committed, and no client was told that it was.
        """
        if self._producer is None:
            return
        try:
            async with asyncio.timeout(within_s):
                await self._discard(self._producer)
        except TimeoutError:
            log.warning("the broker did not answer while closing")

    async def publish(self, topic: Topic[Any], body: Event, envelope: Envelope, partition: int | None = None) -> None:
        """Publish one event; returns once acknowledged.

        Raises Transient("kafka") if the broker did not acknowledge in time, Permanent(OVERSIZE) if it refuses the size.
        """
        await self.send([await encode(topic, body, envelope, self._objects, partition=partition)])

    async def send(self, records: Sequence[Encoded]) -> None:
        """Publish records in order and wait for all acknowledgements. Raises as `publish`."""
        started = perf_counter()
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(self._patience_s):
                producer = self._producer or await self._connected()
                if len(records) < MANY or any(len(record.value or b"") > BATCH_BYTES for record in records):
                    waiting = await _one_by_one(producer, records)
                else:
                    waiting = await _in_batches(producer, records)
                await _acknowledged(waiting)
        except TimeoutError as error:
            raise Transient("kafka", f"no acknowledgement within {self._patience_s:g} s") from error
        except _SIZE_ERRORS as error:
            if producer is not None:
                # What the broker refused leaves a gap in the sequence, behind which it takes nothing more.
                await self._discard(producer)
            raise Permanent(Reason.OVERSIZE, f"the broker refuses the size: {type(error).__name__}") from error
        except KafkaError as error:
            if producer is not None and not error.retriable and not isinstance(error, _REFUSALS):
                await self._discard(producer)
            raise Transient("kafka", type(error).__name__) from error
        took = perf_counter() - started
        for name, sent in Counter([record.topic for record in records]).items():
            count(Metric.PUBLISHED_TOTAL, name, by=sent)
            observe(Metric.PUBLISH_SECONDS, took, name)

    async def encode(
        self,
        topic: Topic[Any],
        body: Event,
        envelope: Envelope,
        *,
        partition: int | None = None,
        tombstone: bool = False,
    ) -> Encoded:
        """Return the record of `body`; a large body goes to this publisher's object store. Raises Transient."""
        return await encode(topic, body, envelope, self._objects, partition=partition, tombstone=tombstone)

    async def _connected(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=0,
                    max_batch_size=BATCH_BYTES,
                    max_request_size=MAX_REQUEST_BYTES,
                    # Above every caller's patience, so that the cause seen is ours and not an expired batch.
                    request_timeout_ms=40_000,
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def _discard(self, producer: AIOKafkaProducer) -> None:
        # A fenced or out-of-sequence idempotent producer never sends again: the next call opens a new one.
        if producer is self._producer:
            self._producer = None
        await producer.stop()


Acknowledgement = asyncio.Future[Any]


async def _one_by_one(producer: AIOKafkaProducer, records: Sequence[Encoded]) -> list[Acknowledgement]:
    """Hand over each record; those of several callers may share a batch."""
    return [
        await producer.send(
            record.topic, value=record.value, key=record.key, headers=record.headers, partition=record.partition
        )
        for record in records
    ]


async def _in_batches(producer: AIOKafkaProducer, records: Sequence[Encoded]) -> list[Acknowledgement]:
    """Hand over the records in batches per partition, in order. A batch has one acknowledgement for all its records."""
    choose = DefaultPartitioner()
    partitions = {name: sorted(await producer.partitions_for(name)) for name in {record.topic for record in records}}
    filling: dict[tuple[str, int], BatchBuilder] = {}
    waiting: list[Acknowledgement] = []
    for name, key, value, headers, wanted in records:
        partition = choose(key, partitions[name], partitions[name]) if wanted is None else wanted
        batch = filling.get((name, partition))
        if batch is None or batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
            if batch is not None:
                waiting.append(await producer.send_batch(batch, name, partition=partition))
            batch = filling[name, partition] = producer.create_batch()
            batch.append(timestamp=None, key=key, value=value, headers=headers)
    for (name, partition), batch in filling.items():
        waiting.append(await producer.send_batch(batch, name, partition=partition))
    return waiting


async def _acknowledged(waiting: Sequence[Acknowledgement]) -> None:
    """Return when all are acknowledged; raise a failure. What was handed over goes its way, whoever waits for it."""
    if len(waiting) <= 1:
        for acknowledgement in waiting:
            # A third of the price; aiokafka sends a record whose acknowledgement is cancelled all the same.
            await acknowledgement
        return
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for acknowledgement in waiting:
            acknowledgement.add_done_callback(_seen)
    for acknowledgement in waiting:
        if acknowledgement.done():
            acknowledgement.result()


def _seen(acknowledgement: Acknowledgement) -> None:
    """Take the error of a publication that nobody waits for any more: asyncio would log it as one nobody handled."""
    if not acknowledgement.cancelled():
        acknowledgement.exception()
