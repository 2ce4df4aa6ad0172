"""What must hold whatever breaks, asserted against the content of the real servers.

- **L** every accepted document version is at its latest in each sink, tombstoned there, or in the dead letters.
- **O** effects equal those of a serial run: each effect once.
- **C** committed offset <= lowest unfinished offset.
- **T** no item of another workspace is ever returned.
- **B** memory and queues stay bounded.
- **R** recovers unaided within a stated time.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from qdrant_client import AsyncQdrantClient, models

from infra.kafka.codec import decode
from infra.neo4j.client import GraphDriver
from infra.neo4j.schema import document_node_id
from infra.objects.store import ObjectStore
from infra.qdrant.points import Key, head_id
from schemas.dead_letters import DeadLetter
from schemas.documents import DocumentVersion
from tests.eventually import eventually
from tests.faults.running import Running
from tests.graphs import digest as graph_digest
from topics.catalogue import DEAD_LETTERS, Topic

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Versions = Iterable[DocumentVersion]


@dataclass
class Sinks:
    """The servers, reached around every proxy."""

    qdrant: AsyncQdrantClient
    graph: GraphDriver
    pool: asyncpg.Pool
    objects: ObjectStore
    bootstrap: str
    collection: str

    async def vectors(self, workspace: str) -> list[dict[str, Any]]:
        """Return the payloads of all points of `workspace`, sorted, without what differs between two workspaces."""
        only = models.Filter(
            must=[models.FieldCondition(key=Key.WORKSPACE.value, match=models.MatchValue(value=workspace))]
        )
        found: list[dict[str, Any]] = []
        offset: Any = None
        while True:
            records, offset = await self.qdrant.scroll(
                self.collection, scroll_filter=only, limit=500, offset=offset, with_payload=True
            )
            found += [dict(record.payload or {}) for record in records]
            if offset is None:
                return found

    async def index_digest(self, workspace: str) -> list[str]:
        """Return what the index holds for `workspace`, comparable between workspaces that hold the same documents."""
        lines = []
        for payload in await self.vectors(workspace):
            shown = {key: value for key, value in payload.items() if key not in {Key.WORKSPACE, Key.DOCUMENT}}
            lines.append(repr(sorted(shown.items())))
        return sorted(lines)

    async def graph_digest(self, workspace: str) -> list[str]:
        """Return every node and edge of `workspace`; document ids differ between workspaces and are taken out."""
        return sorted(_UUID.sub("D", line) for line in await graph_digest(self.graph, workspace))

    async def indexed_version(self, version: DocumentVersion) -> tuple[int, bool] | None:
        head = head_id(version.workspace, version.document_id)
        for record in await self.qdrant.retrieve(self.collection, ids=[head], with_payload=True):
            payload = record.payload or {}
            return payload[Key.VERSION], payload[Key.DELETED]
        return None

    async def graphed_version(self, version: DocumentVersion) -> int | None:
        node = document_node_id(version.workspace, version.document_id)
        rows = await self.graph.read("MATCH (d:Document {id: $id}) RETURN d.version AS version", {"id": node})
        return rows[0]["version"] if rows else None

    async def recorded_version(self, version: DocumentVersion) -> int | None:
        found: int | None = await self.pool.fetchval(
            "select version from documents where document_id = $1", version.document_id
        )
        return found

    async def records(self, topic: Topic[Any], since: Mapping[int, int] | None = None) -> list[ConsumerRecord]:
        """Return what is in `topic` now, from the offsets `since` on."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
        await consumer.start()
        try:
            partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            for partition in partitions:
                if since is not None and partition.partition in since:
                    consumer.seek(partition, since[partition.partition])
            ends = await consumer.end_offsets(partitions)
            found: list[ConsumerRecord] = []
            for partition in partitions:
                while await consumer.position(partition) < ends[partition]:
                    found += (await consumer.getmany(partition, timeout_ms=500)).get(partition, [])
            return found
        finally:
            await consumer.stop()

    async def ends(self, topic: Topic[Any]) -> dict[int, int]:
        """Return the end offset of each partition."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
        await consumer.start()
        try:
            found = await consumer.end_offsets(
                [TopicPartition(topic.name, number) for number in range(topic.partitions)]
            )
            return {partition.partition: offset for partition, offset in found.items()}
        finally:
            await consumer.stop()

    async def bodies(self, topic: Topic[Any], workspace: str) -> list[Any]:
        """Return the decoded bodies of `workspace` in `topic`, in their order within each partition."""
        found = []
        for record in await self.records(topic):
            if dict(record.headers).get("workspace") == workspace.encode():
                delivery = await decode(record, topic, self.objects)
                if delivery is not None:
                    found.append(delivery.body)
        return found

    async def letters(self, topic: Topic[Any], since: Mapping[int, int] | None = None) -> list[DeadLetter]:
        """Return the dead letters about records of `topic`, from the offsets `since` of dead.letters on."""
        found = []
        for record in await self.records(DEAD_LETTERS, since):
            delivery = await decode(record, DEAD_LETTERS, self.objects)
            if delivery is not None and delivery.body.topic == topic.name:
                found.append(delivery.body)
        return found

    async def committed(self, group: str, topic: Topic[Any]) -> dict[int, int]:
        """Return the committed offset of each partition that has one."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            offsets = {
                number: await consumer.committed(TopicPartition(topic.name, number))
                for number in range(topic.partitions)
            }
            return {number: offset for number, offset in offsets.items() if offset is not None}
        finally:
            await consumer.stop()


def latest(versions: Versions) -> list[DocumentVersion]:
    """Return the newest version of each document."""
    newest: dict[Any, DocumentVersion] = {}
    for version in versions:
        held = newest.get(version.document_id)
        if held is None or version.version > held.version:
            newest[version.document_id] = version
    return list(newest.values())


async def L(sinks: Sinks, versions: Versions, *, graph: bool = True, index: bool = True) -> None:  # noqa: N802
    """Every document is at its newest version in each sink, or tombstoned there."""
    for version in latest(versions):
        if index:
            held = await sinks.indexed_version(version)
            assert held == (version.version, version.operation == "delete"), f"{version.external_id}: index has {held}"
        if graph:
            node = await sinks.graphed_version(version)
            assert node == version.version, f"{version.external_id}: graph has {node}, not {version.version}"


async def O(sinks: Sinks, broken: str, calm: str, *, graph: bool = True, index: bool = True) -> None:  # noqa: E743, N802
    """The workspace that lived through the fault holds what one does that was filled in peace."""
    if index:
        assert await sinks.index_digest(broken) == await sinks.index_digest(calm)
    if graph:
        assert await sinks.graph_digest(broken) == await sinks.graph_digest(calm)


async def C(sinks: Sinks, group: str, topic: Topic[Any], finished: set[str]) -> None:  # noqa: N802
    """Every record below a committed offset has had its effect; `finished` holds event ids."""
    committed = await sinks.committed(group, topic)
    for record in await sinks.records(topic):
        if record.offset < committed.get(record.partition, 0):
            identity = dict(record.headers)["ce_id"].decode()
            assert identity in finished, f"{topic.name}-{record.partition}@{record.offset} is committed, not done"


def T(workspace: str, items: Iterable[Mapping[str, Any]], foreign: Iterable[str]) -> None:  # noqa: N802
    """Nothing of what was returned to `workspace` holds a word that only another workspace knows."""
    words = list(foreign)
    for item in items:
        text = repr(item)
        assert not [word for word in words if word in text], f"{workspace} was shown {text[:300]}"


async def B(process: Running, *, in_flight: int, resident_bytes: int) -> None:  # noqa: N802
    """The process holds at most `in_flight` records and takes at most `resident_bytes` of memory."""
    held = await process.metric("in_flight")
    assert held <= in_flight, f"{held:.0f} records in flight, {in_flight} allowed"
    assert process.resident_bytes <= resident_bytes, f"{process.resident_bytes / 1e6:.0f} MB resident"


@asynccontextmanager
async def R(within: float) -> AsyncIterator["Recovery"]:  # noqa: N802
    """What happens in the context is over `within` seconds on a machine with nothing else to do, which is printed; it
    waits by the recovery's `until`, which is as patient as all waits.
    """
    began = monotonic()
    yield Recovery(within)
    print(f"recovered after {monotonic() - began:.1f} of {within:g} s")  # noqa: T201 - a measurement


@dataclass
class Recovery:
    """How long it may take."""

    within: float

    async def until(self, check: Any, every: float = 0.2) -> None:
        await eventually(check, within=self.within, every=every)


def once(items: Iterable[Any]) -> None:
    """Each of `items` occurs once."""
    repeated = {item: times for item, times in Counter(items).items() if times > 1}
    assert not repeated, repeated
