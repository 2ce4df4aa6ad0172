"""The one way to publish: acks=all, idempotent, acknowledged before it returns."""

import asyncio
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

from infra.errors import Permanent, Transient
from infra.kafka.codec import Encoded, encode
from infra.objects.store import ObjectStore
from infra.telemetry.metrics import Metric, count, observe
from schemas.dead_letters import Reason
from schemas.envelope import Envelope
from schemas.event import Event
from topics.catalogue import Topic

MAX_REQUEST_BYTES = 2 * 1024 * 1024
"""Largest topic limit (768 KiB) plus headers, with room; the broker's own limit is set by the stack."""
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

    async def close(self) -> None:
        """Send what is buffered, then disconnect."""
        if self._producer is not None:
            await self._discard(self._producer)

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
                producer = await self._connected()
                waiting = [
                    await producer.send(
                        record.topic,
                        value=record.value,
                        key=record.key,
                        headers=record.headers,
                        partition=record.partition,
                    )
                    for record in records
                ]
                # Shielded: a cancelled waiter must not cancel a batch that other callers' records share.
                for acknowledgement in waiting:
                    await asyncio.shield(acknowledgement)
        except TimeoutError as error:
            raise Transient("kafka", f"no acknowledgement within {self._patience_s:g} s") from error
        except _SIZE_ERRORS as error:
            raise Permanent(Reason.OVERSIZE, f"the broker refuses the size: {type(error).__name__}") from error
        except KafkaError as error:
            if producer is not None and not error.retriable and not isinstance(error, _REFUSALS):
                await self._discard(producer)
            raise Transient("kafka", type(error).__name__) from error
        took = perf_counter() - started
        for name in {record.topic for record in records}:
            count(Metric.PUBLISHED_TOTAL, name, by=sum(record.topic == name for record in records))
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
