"""Compares two topics with the model: in which order events were accepted, and what is said of each document.

The last word on a document is what a new index is filled from; every earlier one must have had a version of its own.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.kill.findings import Fault, Findings
from bench.kill.model import Document, Place, World
from infra.kafka.codec import decode
from infra.objects.store import ObjectStore
from infra.qdrant.points import Head
from schemas.documents import DocumentVersion
from topics.catalogue import DOCUMENTS, RAW_EVENTS, Topic

SINK = "log"
FETCH_MS = 1_000
RECORDS = 1_000
Texts = Mapping[tuple[str, int], set[tuple[str, str]]]
"""Titles and texts by key and version."""


async def arrivals(bootstrap: str) -> dict[UUID, Place]:
    """Return where each event was first accepted."""
    found: dict[UUID, Place] = {}
    async for record in _records(bootstrap, RAW_EVENTS):
        name = dict(record.headers).get("ce_id")
        if name is not None:
            found.setdefault(UUID(name.decode()), (record.partition, record.offset))
    return found


async def compare_log(
    bootstrap: str, objects: ObjectStore, world: World, heads: Mapping[UUID, Head], findings: Findings
) -> None:
    """Read the topic of documents from its beginning, and compare."""
    last: dict[str, DocumentVersion | None] = {}
    texts: defaultdict[tuple[str, int], set[tuple[str, str]]] = defaultdict(set)
    ours = {workspace.encode() for workspace in world.workspaces}
    async for record in _records(bootstrap, DOCUMENTS):
        if record.key.partition(b"/")[0] not in ours:
            continue
        delivery = await decode(record, DOCUMENTS, objects)
        version = last[record.key.decode()] = delivery.body if delivery else None
        if version is not None and version.operation == "upsert":
            texts[record.key.decode(), version.version].add((version.title, version.text))
    for told in world.scattered:
        findings.add(Fault.CROSSED, SINK, told)
    judge_texts(texts, findings)
    judge_log(last, world, heads, findings)


async def last_words(bootstrap: str, objects: ObjectStore) -> dict[str, DocumentVersion | None]:
    """Return the last record of each key that is in the topic now; None: it is a tombstone."""
    last = {record.key: record async for record in _records(bootstrap, DOCUMENTS)}
    read = {key.decode(): await decode(record, DOCUMENTS, objects) for key, record in last.items()}
    return {key: delivery.body if delivery else None for key, delivery in read.items()}


async def _records(bootstrap: str, topic: Topic[Any]) -> AsyncIterator[Any]:
    """Yield all records that are in `topic` now, those of a partition in their order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        places = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        while open_places := [place for place in places if await consumer.position(place) < ends[place]]:
            batches = await consumer.getmany(*open_places, timeout_ms=FETCH_MS, max_records=RECORDS)
            for records in batches.values():
                for record in records:
                    yield record
    finally:
        await consumer.stop()


def judge_texts(texts: Texts, findings: Findings) -> None:
    """Check that no version of a document ever had two texts."""
    findings.checked["versions in the log"] += len(texts)
    for (key, version), said in texts.items():
        if len(said) > 1:
            titles = ", ".join(sorted(title for title, _ in said))
            findings.add(Fault.AMBIGUOUS, SINK, f"{key} at version {version} has {len(said)} texts: {titles}")


def judge_log(
    last: Mapping[str, DocumentVersion | None], world: World, heads: Mapping[UUID, Head], findings: Findings
) -> None:
    """Compare the last records with the model; `heads` are the versions that Postgres holds."""
    wanted = {f"{each.workspace}/{document_id}": (document_id, each) for document_id, each in world.documents.items()}
    for key in last:
        workspace = key.partition("/")[0]
        if workspace in world.workspaces and key not in wanted:
            findings.add(Fault.DUPLICATED, SINK, f"records of {key} that nobody sent")
    for key, (document_id, document) in wanted.items():
        findings.checked["documents in the log"] += 1
        head = heads.get(document_id)
        if head is None and not document.surely:
            # Unknown to Postgres, as it may be: then nobody may know it.
            if key in last:
                findings.add(Fault.STALE, SINK, f"records of {key}, which came after its container was gone")
        elif key not in last:
            findings.add(Fault.LOST, SINK, f"no record of {key} ({document.step.external_id})")
        elif told := _differs(last[key], document, head):
            findings.add(Fault.STALE, SINK, f"{key} ({document.step.external_id}): {told}")


def _differs(last: DocumentVersion | None, wanted: Document, head: Head | None) -> str:
    """Return how the last record differs from the newest state; empty if it does not."""
    if last is None:
        return "" if wanted.deleted else "a tombstone, wanted a text"
    version = head.version if head else last.version
    deleted = last.operation == "delete"
    if (last.version, deleted, last.text) == (version, wanted.deleted, wanted.text):
        return ""
    return f"version {last.version}{', deleted' if deleted else ''}, wanted {version}"
