"""Compares Postgres with the model: documents, events, receipts, dead letters, inbox."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from bench.kill.findings import Fault, Findings
from bench.kill.model import Ended, World
from infra.qdrant.points import Head
from schemas.dead_letters import UNKNOWN_WORKSPACE

SINK = "postgres"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Pairs: TypeAlias = set[tuple[UUID, UUID]]
"""Event and document."""


async def compare_tables(pool: Pool, world: World, findings: Findings) -> dict[UUID, Head]:
    """Compare, and return the version of every document, which the other sinks must agree with."""
    heads = await _documents(pool, world, findings)
    claims = await _events(pool, world, findings)
    await _receipts(pool, world, claims, heads, findings)
    await _letters(pool, world, findings)
    await _inbox(pool, world, findings)
    return heads


async def _documents(pool: Pool, world: World, findings: Findings) -> dict[UUID, Head]:
    rows = await pool.fetch(
        "select document_id, workspace, version, deleted, text, title from documents where workspace = any($1)",
        world.workspaces,
    )
    found = {row["document_id"]: row for row in rows}
    findings.checked["documents in Postgres"] = len(found)
    for document_id in found.keys() - world.documents.keys():
        findings.add(Fault.DUPLICATED, SINK, f"document {document_id} that nobody sent")
    heads = {}
    for document_id, wanted in world.documents.items():
        row = found.get(document_id)
        findings.checked["documents gone with their container"] += wanted.taken
        if row is None:
            if wanted.surely:
                findings.add(Fault.LOST, SINK, f"document {document_id} ({wanted.step.external_id})")
            continue
        # Without a number of the sender's own the log decides; then the text tells which state it is.
        version = wanted.version or max(row["version"], wanted.step.version or 0)
        heads[document_id] = Head(version, wanted.deleted)
        findings.checked["documents at a version of their own"] += version > (wanted.step.version or version)
        if row["workspace"] != wanted.workspace:
            findings.add(Fault.CROSSED, SINK, f"document {document_id} stands in {row['workspace']}")
        elif (row["version"], row["deleted"], row["text"]) != (version, wanted.deleted, wanted.text):
            told = f"version {row['version']}, deleted {row['deleted']}, {row['title']!r}"
            step = f"{version}, deleted {wanted.deleted}, {wanted.step.title!r} of step {wanted.step.number}"
            findings.add(
                Fault.STALE, SINK, f"document {document_id} ({wanted.step.external_id}): {told}, wanted {step}"
            )
    return heads


@dataclass(frozen=True, slots=True)
class Claims:
    """What the normalizer says of the events: documents that it published, and those that it left out."""

    published: Pairs
    left_out: Pairs


async def _events(pool: Pool, world: World, findings: Findings) -> Claims:
    rows = await pool.fetch(
        "select event_id, workspace, outcome, documents, superseded from events where workspace = any($1)",
        world.workspaces,
    )
    claims = Claims(set(), set())
    found = {row["event_id"]: row for row in rows}
    findings.checked["events in the ledger"] = len(found)
    for event_id in found.keys() - world.events.keys():
        findings.add(Fault.DUPLICATED, SINK, f"event {event_id} that nobody sent")
    for event_id, wanted in world.events.items():
        row = found.get(event_id)
        if row is None:
            findings.add(Fault.LOST, SINK, f"event {event_id} of step {wanted.step.number}")
            continue
        outcome = wanted.outcome if wanted.outcome in {"documents", "not_a_document"} else None
        documents = [*row["documents"], *row["superseded"]]
        if row["workspace"] != wanted.step.workspace:
            findings.add(Fault.CROSSED, SINK, f"event {event_id} stands in {row['workspace']}")
        elif row["outcome"] != outcome or not told_of(world, wanted, documents):
            told = f"{row['outcome']} of {documents}, wanted {outcome} of {wanted.document_id}"
            findings.add(Fault.LOST, SINK, f"event {event_id} of step {wanted.step.number}: {told}")
        claims.published.update((event_id, document_id) for document_id in row["documents"])
        claims.left_out.update((event_id, document_id) for document_id in row["superseded"])
    judge_left_out(world, claims.left_out, findings)
    return claims


def told_of(world: World, ended: Ended, documents: Sequence[UUID]) -> bool:
    """Tell whether an event became its own document, and else only what stood in it."""
    if ended.document_id is None:
        return not documents
    others = [each for each in documents if each != ended.document_id]
    own = len(documents) - len(others)
    return own == 1 and set(others) <= world.contents.get(ended.document_id, set())


def judge_left_out(world: World, left_out: Pairs, findings: Findings) -> None:
    """Check what was left out: never the newest state, unless another event says the same and was published."""
    findings.checked["superseded events"] = len({event_id for event_id, _ in left_out})
    of_run: Counter[UUID] = Counter()
    for event_id, document_id in left_out:
        ended, document = world.events.get(event_id), world.documents.get(document_id)
        if ended is None or document is None or ended.document_id != document_id or world.overtaken(ended):
            continue
        of_run[document_id] += 1
        findings.checked["unchanged states left out"] += 1
        if of_run[document_id] == len(document.run):
            findings.add(Fault.LOST, SINK, f"event {event_id} says the newest of its document and was left out")


async def _receipts(pool: Pool, world: World, claims: Claims, heads: Mapping[UUID, Head], findings: Findings) -> None:
    live = await pool.fetchval("select 'embedder/' || index_id from indexes where state = 'live'")
    rows = await pool.fetch(
        "select event_id, document_id, sink, version, operation from receipts where workspace = any($1)",
        world.workspaces,
    )
    sinks = (live, "graph_builder")
    findings.checked["receipts"] = len(rows)
    held = {(row["event_id"], row["document_id"], row["sink"]) for row in rows}
    own = {(ended.event_id, ended.document_id) for ended in world.events.values() if ended.document_id}
    for event_id, document_id in (own - claims.left_out) | claims.published:
        for sink in sinks:
            if (event_id, document_id, sink) not in held:
                findings.add(Fault.LOST, SINK, f"receipt of {sink} for event {event_id}, document {document_id}")
    # Which sinks give receipts is theirs to say; of which event and document, the stream's.
    for event_id, document_id, sink in held:
        ended = world.events.get(event_id)
        if ended is None or not spoken_of(world, ended, document_id):
            findings.add(Fault.DUPLICATED, SINK, f"receipt of {sink} for event {event_id}, document {document_id}")
    gone = {(row["document_id"], row["version"], row["sink"]) for row in rows if row["operation"] == "delete"}
    judge_deletions(gone, sinks, heads, findings)


def spoken_of(world: World, ended: Ended, document_id: UUID) -> bool:
    """Tell whether sinks may speak of a document when they give the receipt of an event."""
    if ended.document_id is None:
        return False
    return document_id == ended.document_id or document_id in world.contents.get(ended.document_id, set())


def judge_deletions(
    gone: Set[tuple[UUID, int, str]], sinks: Sequence[str], heads: Mapping[UUID, Head], findings: Findings
) -> None:
    """Check that every sink says of each deleted document that it deleted it, at its last version."""
    for document_id, head in heads.items():
        if head.deleted:
            findings.checked["proofs of deletion"] += 1
            for sink in (sink for sink in sinks if (document_id, head.version, sink) not in gone):
                findings.add(Fault.LOST, SINK, f"proof of {sink} that document {document_id} is deleted")


async def _letters(pool: Pool, world: World, findings: Findings) -> None:
    rows: list[Any] = await pool.fetch(
        "select event_id, workspace, reason, worker, detail, state from dead_letters "
        "where workspace = any($1) or workspace = $2 and first_at >= $3",
        world.workspaces,
        UNKNOWN_WORKSPACE,
        world.began,
    )
    findings.checked["dead letters"] = len(rows)
    held = Counter(row["event_id"] for row in rows)
    wanted = {ended.event_id: ended for ended in world.dead()}
    for event_id, ended in wanted.items():
        if not held[event_id]:
            findings.add(Fault.LOST, SINK, f"dead letter of event {event_id} ({ended.outcome})")
        elif held[event_id] > 1:
            findings.add(Fault.DUPLICATED, SINK, f"{held[event_id]} dead letters of event {event_id}")
    for row in rows:
        ended_as = wanted.get(row["event_id"])
        if ended_as is None or ended_as.outcome != row["reason"]:
            told = f"{row['worker']}: {row['reason']}: {row['detail'][:120]} (event {row['event_id']})"
            findings.add(Fault.DEAD_LETTER, SINK, told)
        elif row["workspace"] != ended_as.step.workspace:
            findings.add(Fault.CROSSED, SINK, f"dead letter of event {row['event_id']} stands in {row['workspace']}")


async def _inbox(pool: Pool, world: World, findings: Findings) -> None:
    known = {row["event_id"] for row in await pool.fetch("select event_id from inbox where consumer = 'normalizer'")}
    for event_id in world.events.keys() - known:
        findings.add(Fault.LOST, SINK, f"the normalizer has never seen event {event_id}")
