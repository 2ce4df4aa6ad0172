"""Tells when the log has dropped records that a group had not read: nobody can bring them back.

A consumer whose offset lies before the log's start is moved to the start by Kafka's own rule, silently; here that is
an error in the log and a count that an alert can stand on.
"""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, count

log = logger(__name__)


async def check(worker: str, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], within_s: float) -> None:
    """Compare committed offsets with where the log starts. For newly assigned partitions, before they are read."""
    if not partitions:
        return
    try:
        async with asyncio.timeout(within_s):
            committed = {partition: await consumer.committed(partition) for partition in partitions}
            starts = await consumer.beginning_offsets(list(partitions))
    except (KafkaError, TimeoutError) as error:
        log.warning("cannot compare offsets with the log", worker=worker, cause=type(error).__name__)
        return
    for partition, start in starts.items():
        held = committed[partition]
        if held is not None and start > held:
            alarm(worker, partition, held, start)


def alarm(worker: str, partition: TopicPartition, wanted: int, start: int) -> None:
    """Say that the records from `wanted` up to `start` are gone."""
    count(Metric.RECORDS_LOST_TOTAL, worker, partition.topic, by=start - wanted)
    place = {"topic": partition.topic, "partition": partition.partition}
    log.error("records deleted unread", worker=worker, **place, wanted=wanted, log_starts=start)
