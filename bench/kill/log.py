"""Compares the topic of documents with the model: the last word on each document, which a new index is filled from."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.kill.findings import Fault, Findings
from bench.kill.model import Document, World
from infra.kafka.codec import decode
from infra.objects.store import ObjectStore
from infra.qdrant.points import Head
from schemas.documents import DocumentVersion
from topics.catalogue import DOCUMENTS

SINK = "log"
FETCH_MS = 1_000
RECORDS = 1_000


async def compare_log(
    bootstrap: str, objects: ObjectStore, world: World, heads: Mapping[UUID, Head], findings: Findings
) -> None:
    """Read the topic from its beginning as compaction would leave it, and compare."""
    judge_log(await last_words(bootstrap, objects), world, heads, findings)


async def last_words(bootstrap: str, objects: ObjectStore) -> dict[str, DocumentVersion | None]:
    """Return the last record of each key that is in the topic now; None: it is a tombstone."""
    last: dict[bytes, Any] = {}
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        places = [TopicPartition(DOCUMENTS.name, number) for number in range(DOCUMENTS.partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        while open_places := [place for place in places if await consumer.position(place) < ends[place]]:
            batches = await consumer.getmany(*open_places, timeout_ms=FETCH_MS, max_records=RECORDS)
            last |= {record.key: record for records in batches.values() for record in records}
    finally:
        await consumer.stop()
    read = {key.decode(): await decode(record, DOCUMENTS, objects) for key, record in last.items()}
    return {key: delivery.body if delivery else None for key, delivery in read.items()}


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
        if key not in last:
            findings.add(Fault.LOST, SINK, f"no record of {key} ({document.step.external_id})")
        elif told := _differs(last[key], document, heads.get(document_id)):
            findings.add(Fault.STALE, SINK, f"{key} ({document.step.external_id}): {told}")


def _differs(last: DocumentVersion | None, wanted: Document, head: Head | None) -> str:
    """Return how the last record differs from the newest state; empty if it does not."""
    if last is None:
        return "" if wanted.deleted else "a tombstone, wanted a text"
    version = head.version if head else last.version
    deleted = last.operation == "delete"
    if (last.version, deleted, last.text) == (version, wanted.deleted, wanted.step.text):
        return ""
    return f"version {last.version}{', deleted' if deleted else ''}, wanted {version}"
