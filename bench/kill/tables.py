"""Compares Postgres with the model: documents, events, receipts, dead letters, inbox."""

from collections import Counter
from collections.abc import Set
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from bench.kill.findings import Fault, Findings
from bench.kill.model import World
from infra.qdrant.points import Head
from schemas.dead_letters import UNKNOWN_WORKSPACE

SINK = "postgres"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


async def compare_tables(pool: Pool, world: World, findings: Findings) -> dict[UUID, Head]:
    """Compare, and return the version of every document, which the other sinks must agree with."""
    heads = await _documents(pool, world, findings)
    superseded = await _events(pool, world, findings)
    await _receipts(pool, world, superseded, findings)
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
        if row is None:
            findings.add(Fault.LOST, SINK, f"document {document_id} ({wanted.step.external_id})")
            continue
        # Without a number of the sender's own the log decides; then the text tells which state it is.
        version = wanted.step.exact_version or row["version"]
        heads[document_id] = Head(version, wanted.deleted)
        if row["workspace"] != wanted.workspace:
            findings.add(Fault.CROSSED, SINK, f"document {document_id} stands in {row['workspace']}")
        elif (row["version"], row["deleted"], row["text"]) != (version, wanted.deleted, wanted.step.text):
            findings.add(Fault.STALE, SINK, f"document {document_id}: version {row['version']}, wanted {version}")
    return heads


async def _events(pool: Pool, world: World, findings: Findings) -> set[UUID]:
    """Compare, and return the events of which the normalizer says that a newer state was published before."""
    rows = await pool.fetch(
        "select event_id, workspace, outcome, documents, superseded from events where workspace = any($1)",
        world.workspaces,
    )
    superseded: set[UUID] = set()
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
        documents = [wanted.document_id] if wanted.document_id else []
        if row["workspace"] != wanted.step.workspace:
            findings.add(Fault.CROSSED, SINK, f"event {event_id} stands in {row['workspace']}")
        elif (row["outcome"], [*row["documents"], *row["superseded"]]) != (outcome, documents):
            findings.add(Fault.LOST, SINK, f"event {event_id}: {row['outcome']}, wanted {outcome}")
        elif row["superseded"]:
            superseded.add(event_id)
            if not world.overtaken(wanted):
                findings.add(Fault.LOST, SINK, f"event {event_id} says the newest of its document and was left out")
    findings.checked["superseded events"] = len(superseded)
    return superseded


async def _receipts(pool: Pool, world: World, superseded: Set[UUID], findings: Findings) -> None:
    live = await pool.fetchval("select 'embedder/' || index_id from indexes where state = 'live'")
    rows = await pool.fetch(
        "select event_id, document_id, sink, version from receipts where workspace = any($1)", world.workspaces
    )
    findings.checked["receipts"] = len(rows)
    held = Counter((row["event_id"], row["document_id"], row["sink"]) for row in rows)
    wanted = {
        (ended.event_id, ended.document_id, sink)
        for ended in world.events.values()
        if ended.document_id
        for sink in (live, "graph_builder")
    }
    for event_id, document_id, sink in wanted - held.keys():
        if event_id in superseded:
            continue
        findings.add(Fault.LOST, SINK, f"receipt of {sink} for event {event_id}, document {document_id}")
    # Which sinks give receipts is theirs to say; of which event and document, the stream's.
    spoken = {(event_id, document_id) for event_id, document_id, _ in wanted}
    for event_id, document_id, sink in (each for each in held if each[:2] not in spoken):
        findings.add(Fault.DUPLICATED, SINK, f"receipt of {sink} for event {event_id}, document {document_id}")


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
