"""The last record of a document in the log, which compaction keeps and fills new indexes from, is its newest state."""

import signal
from uuid import uuid4

import orjson
import pytest

from bench.kill.log import last_words
from infra.kafka.failpoints import Point
from schemas.ids import document_id
from schemas.raw import RawEvent
from schemas.receipts import Receipt
from tests.events import raw_event
from tests.eventually import eventually
from tests.faults.arena import Arena
from tests.faults.conftest import WORKERS
from tests.faults.running import Running, ending, host, hosting
from topics.catalogue import DOCUMENTS, RECEIPTS


def said(workspace: str, version: int, **fields: object) -> RawEvent:
    """Return a delivery that says version `version` of the one document of `workspace`."""
    body = {"id": "sluice", "version": version, "text": f"The sluice, version {version}.", **fields}
    return raw_event(f"d-{uuid4().hex}", workspace=workspace, body=orjson.dumps(body), content_type="application/json")


async def last(arena: Arena, workspace: str) -> int | None:
    """Return the version of the last record that a fresh consumer finds under the document's key; None: a tombstone."""
    words = await last_words(arena.sinks.bootstrap, arena.sinks.objects)
    (key,) = [key for key in words if key.startswith(f"{workspace}/")]
    word = words[key]
    return word.version if word else None


async def receipts(arena: Arena, *events: RawEvent) -> list[Receipt]:
    """Wait for the normalizer's word on `events`; return the last one of each."""

    async def told() -> list[Receipt]:
        bodies = await arena.sinks.bodies(RECEIPTS, events[0].workspace)
        by_event = {each.event_id: each for each in bodies if each.sink == "normalizer"}
        return [by_event[event.event_id] for event in events] if len(by_event) >= len(events) else []

    return await eventually(told, within=30)


@pytest.mark.fault(20)
async def test_an_older_state_behind_a_newer_one_is_not_the_last_word(
    arena: Arena, mill: Running, workspace: str
) -> None:
    newer, older = said(workspace, 3), said(workspace, 2)
    await arena.accept(newer, older)
    first, second = await receipts(arena, newer, older)
    assert await last(arena, workspace) == 3
    assert (second.documents, second.superseded) == ((), first.documents)

    async def complete() -> bool:
        rows = await arena.sinks.pool.fetch(
            "select event_id, superseded from events where workspace = $1 and outcome = 'documents'", workspace
        )
        return {row["event_id"]: len(row["superseded"]) for row in rows} == {newer.event_id: 0, older.event_id: 1}

    await eventually(complete, within=20)


@pytest.mark.fault(21)
async def test_an_old_state_behind_the_deletion_leaves_its_tombstone_the_last_word(
    arena: Arena, mill: Running, workspace: str
) -> None:
    events = [said(workspace, 3), said(workspace, 5, deleted=True), said(workspace, 4)]
    await arena.accept(*events)
    await receipts(arena, *events)
    assert await last(arena, workspace) is None


@pytest.mark.fault(11, 20)
@pytest.mark.usefixtures("nothing_left")
async def test_a_kill_between_the_gate_and_the_log_loses_nothing(arena: Arena, workspace: str) -> None:
    """The gate has let version 3 through and the process dies before it is published."""
    newer, older = said(workspace, 3), said(workspace, 2)
    await arena.accept(newer, older)
    armed = {"MILLRACE_FAILPOINTS": f"{Point.AFTER_EFFECTS}@normalizer=kill:1"}
    dying = host(arena.environment | armed, arena.folder, *WORKERS)
    async with ending(dying):
        await eventually(lambda: not dying.lives, within=60, every=0.1)
    assert dying.child.popen is not None
    assert dying.child.popen.returncode == -signal.SIGKILL, dying.said()[-3_000:]
    document = document_id(workspace, newer.source, "sluice")
    assert await arena.sinks.pool.fetchval("select number from published where document_id = $1", document) == 3
    assert await arena.sinks.bodies(DOCUMENTS, workspace) == [], "the kill came too late"
    async with hosting(arena.environment, arena.folder, *WORKERS):
        _, second = await receipts(arena, newer, older)
    assert await last(arena, workspace) == 3
    assert second.superseded
