"""One worker's place in its consumer group: joining it, however long the broker takes to come, and leaving it."""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import ConsumerStoppedError, KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from infra.errors import Transient
from infra.kafka.room import FETCH_BYTES
from infra.kafka.timing import Timing
from infra.telemetry.logs import logger

if TYPE_CHECKING:
    from faststream.kafka.subscriber.usecase import BatchSubscriber

log = logger(__name__)


class Membership:
    """A subscriber made by FastStream, without a handler: its owner polls and commits.

    With an `instance`, a name that no other process has at the same time, membership is static (KIP-345): who comes
    back under the name has its partitions at once, and a death is noticed by the others only after the session.
    """

    def __init__(self, bootstrap: Iterable[str], group_id: str, timing: Timing, instance: str = "") -> None:
        self._bootstrap = list(bootstrap)
        self._group_id = group_id
        self._timing = timing
        self._instance = instance or None
        self._broker: KafkaBroker | None = None
        self._subscriber: BatchSubscriber | None = None

    @property
    def joined(self) -> bool:
        """Whether `join` succeeded. A member without partitions, in a group with more members than those, is well."""
        return self._broker is not None

    @property
    def consumer(self) -> AIOKafkaConsumer:
        """The consumer. Raises ConsumerStoppedError before `join` and after `leave`."""
        if self._subscriber is None or self._subscriber.consumer is None:
            raise ConsumerStoppedError
        return self._subscriber.consumer

    async def join(self, topics: Iterable[str], listener: ConsumerRebalanceListener) -> None:
        """Subscribe and start. Raises Transient if the broker cannot be reached now; it may be called again then."""
        timing = self._timing
        broker = KafkaBroker(self._bootstrap, consumer_only=True, allow_auto_create_topics=False, logger=None)
        try:
            await broker.connect()
            self._subscriber = broker.subscriber(
                *topics,
                batch=True,
                group_id=self._group_id,
                group_instance_id=self._instance,
                ack_policy=AckPolicy.MANUAL,
                no_reply=True,
                auto_offset_reset="earliest",
                max_partition_fetch_bytes=FETCH_BYTES,
                session_timeout_ms=round(timing.session_s * 1_000),
                heartbeat_interval_ms=round(timing.heartbeat_s * 1_000),
                rebalance_timeout_ms=round(timing.rebalance_s * 1_000),
                listener=listener,
            )
            await self._subscriber.start()
        except KafkaError as error:
            self._subscriber = None
            await broker.stop()
            if error.retriable:
                raise Transient("kafka", type(error).__name__) from error
            raise
        self._broker = broker

    async def leave(self) -> None:
        """Leave the group in an orderly way, as far as the broker answers."""
        if self._broker is None:
            return
        try:
            async with asyncio.timeout(self._timing.leave_within_s):
                await self._broker.stop()
        except Exception as error:  # noqa: BLE001 - the consumer may be what broke: its fault must not hide the first
            # Nothing is owed to a broker that is away: the group notices by the session's end.
            log.warning("left without a word to the broker", group=self._group_id, cause=type(error).__name__)
