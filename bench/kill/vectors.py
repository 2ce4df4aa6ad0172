"""Compares the live index with the model: heads, chunks, versions, workspaces."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from qdrant_client import AsyncQdrantClient, models

from bench.kill.findings import Fault, Findings
from bench.kill.model import Document, World
from infra.qdrant.points import Head, Key, Part, one_of, read_head

SINK = "vectors"
PAGE = 500
Payload = Mapping[str, Any]
_FIELDS = [Key.PART, Key.WORKSPACE, Key.DOCUMENT, Key.VERSION, Key.DELETED, Key.ORDINAL, Key.START, Key.END, Key.TEXT]


async def compare_vectors(
    client: AsyncQdrantClient, collection: str, world: World, heads: Mapping[UUID, Head], findings: Findings
) -> None:
    """Read every point of the run's workspaces and compare."""
    judge_points(await _scroll(client, collection, world.workspaces), world, heads, findings)


def judge_points(points: Iterable[Payload], world: World, heads: Mapping[UUID, Head], findings: Findings) -> None:
    """Compare the payloads of all points with the model; `heads` are the versions that Postgres holds."""
    by_document: defaultdict[UUID, list[Payload]] = defaultdict(list)
    for payload in points:
        by_document[UUID(payload[Key.DOCUMENT])].append(payload)
        findings.checked["vector points"] += 1
    for document_id in by_document.keys() - world.documents.keys():
        findings.add(Fault.DUPLICATED, SINK, f"points of document {document_id} that nobody sent")
    for document_id, wanted in world.documents.items():
        _document(by_document.get(document_id, []), wanted, heads.get(document_id), findings)


async def _scroll(client: AsyncQdrantClient, collection: str, workspaces: list[str]) -> list[Payload]:
    found: list[Payload] = []
    offset = None
    only = models.Filter(must=[one_of(Key.WORKSPACE, workspaces)])
    selector = models.PayloadSelectorInclude(include=[field.value for field in _FIELDS])
    while True:
        records, offset = await client.scroll(
            collection, scroll_filter=only, limit=PAGE, offset=offset, with_payload=selector
        )
        found.extend(record.payload or {} for record in records)
        if offset is None:
            return found


def _document(points: list[Payload], wanted: Document, head: Head | None, findings: Findings) -> None:
    name = f"document {wanted.document_id} ({wanted.step.external_id})"
    for point in points:
        if point[Key.WORKSPACE] != wanted.workspace:
            findings.add(Fault.CROSSED, SINK, f"{name} of {wanted.workspace} has a point in {point[Key.WORKSPACE]}")
    if head is None and not wanted.surely:
        # Unknown to Postgres, as it may be: then nobody may know it.
        if points:
            findings.add(Fault.STALE, SINK, f"{name}, which came after its container was gone, has a point")
        return
    parts = {part: [point for point in points if point[Key.PART] == part] for part in (Part.HEAD, Part.CHUNK)}
    if not parts[Part.HEAD]:
        findings.add(Fault.LOST, SINK, f"{name} has no head")
        return
    held = read_head(parts[Part.HEAD][0])
    if len(parts[Part.HEAD]) > 1:
        findings.add(Fault.DUPLICATED, SINK, f"{name} has {len(parts[Part.HEAD])} heads")
    if head is not None and held != head:
        findings.add(Fault.STALE, SINK, f"{name}: {held}, wanted {head}")
        return
    _chunks(parts[Part.CHUNK], wanted, held, findings)


def _chunks(chunks: list[Payload], wanted: Document, head: Head, findings: Findings) -> None:
    name = f"document {wanted.document_id} ({wanted.step.external_id})"
    if wanted.deleted:
        if chunks:
            findings.add(Fault.STALE, SINK, f"{name} is deleted and has {len(chunks)} chunks")
        return
    versions = {chunk[Key.VERSION] for chunk in chunks}
    if versions - {head.version}:
        findings.add(Fault.STALE, SINK, f"{name}: chunks of versions {sorted(versions)}, wanted {head.version}")
        return
    placed = sorted(chunks, key=lambda chunk: int(chunk[Key.ORDINAL]))
    ordinals = [chunk[Key.ORDINAL] for chunk in placed]
    if len(set(ordinals)) < len(ordinals):
        findings.add(Fault.DUPLICATED, SINK, f"{name} has chunks {ordinals}")
    elif any(chunk[Key.TEXT] != wanted.text[chunk[Key.START] : chunk[Key.END]] for chunk in placed):
        findings.add(Fault.STALE, SINK, f"{name}: a chunk holds other text than version {head.version}")
    elif not whole(placed, wanted.text):
        findings.add(Fault.LOST, SINK, f"{name}: chunks {ordinals} do not cover its text")


def whole(chunks: list[Payload], text: str) -> bool:
    """Tell whether chunks, by ordinal, are 0, 1, … and leave nothing of `text` out but blanks."""
    if [chunk[Key.ORDINAL] for chunk in chunks] != list(range(len(chunks))):
        return False
    reached = 0
    for chunk in chunks:
        if text[reached : chunk[Key.START]].strip():
            return False
        reached = max(reached, int(chunk[Key.END]))
    return not text[reached:].strip()
