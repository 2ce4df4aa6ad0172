"""How far the work has come, and when nothing moves any more: nothing pending in the ledger, no consumer behind."""

import asyncio
import contextlib
import time
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from bench.kill.tables import Pool
from infra.errors import Transient
from infra.postgres.progress import completeness

PREFIX = "millrace."
"""Every consumer group of Millrace begins so."""
EVERY_S = 1.0
MARGIN = 10
"""A look may take a tenth of the time between two looks."""


class Watch:
    """Knows how many events the ledger has an end for, as of its last look; it goes on looking while Postgres dies."""

    def __init__(self, pool: Pool, workspaces: Sequence[str], events: int) -> None:
        self._pool = pool
        self._workspaces = workspaces
        self._events = events
        self.settled = 0
        self.pending = 0

    async def look(self) -> None:
        """Read the ledger once. Raises Transient."""
        settled = pending = 0
        for workspace in self._workspaces:
            for source in (await completeness(self._pool, workspace)).values():
                settled += source.fetched - source.pending
                pending += source.pending
        self.settled, self.pending = settled, pending

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            began = time.monotonic()
            # Postgres may have been killed just now: the next look tells.
            with contextlib.suppress(Transient):
                await self.look()
            await asyncio.sleep(max(EVERY_S, MARGIN * (time.monotonic() - began)))

    @property
    def complete(self) -> bool:
        """Whether every event has come to an end."""
        return self.settled >= self._events and self.pending == 0


async def lag(bootstrap: str) -> dict[str, int]:
    """Return how many records each consumer group of Millrace is behind, by `group topic`. Raises Transient."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    try:
        await admin.start()
        await consumer.start()
        groups = [name for name, *_ in await admin.list_consumer_groups() if name.startswith(PREFIX)]
        behind: dict[str, int] = {}
        for group in groups:
            committed = await admin.list_consumer_group_offsets(group)
            topics = {partition.topic for partition in committed}
            partitions = [TopicPartition(topic, number) for topic in topics for number in await _numbers(admin, topic)]
            ends = await consumer.end_offsets(partitions)
            starts = await consumer.beginning_offsets(partitions)
            for partition, end in ends.items():
                known = committed.get(partition)
                done = known.offset if known is not None and known.offset >= 0 else starts[partition]
                name = f"{group} {partition.topic}"
                behind[name] = behind.get(name, 0) + max(0, end - done)
    except (KafkaError, OSError) as error:
        raise Transient("kafka", type(error).__name__) from error
    else:
        return behind
    finally:
        await consumer.stop()
        await admin.close()


async def _numbers(admin: AIOKafkaAdminClient, topic: str) -> list[int]:
    (described,) = await admin.describe_topics([topic])
    return [partition["partition"] for partition in described["partitions"]]


async def wait_for_quiet(watch: Watch, bootstrap: str, within_s: float) -> list[str]:
    """Wait until nothing is pending and no group is behind; return what still is after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while True:
        left = [f"{watch.pending} events pending in the ledger"] if not watch.complete else []
        if not left:
            try:
                left = [f"{name} is {records} behind" for name, records in (await lag(bootstrap)).items() if records]
            except Transient as error:
                left = [str(error)]
        if not left or time.monotonic() > deadline:
            return left
        await asyncio.sleep(EVERY_S)
