"""Redriving by the operators' command line, behind a newer version."""

from uuid import UUID

import pytest

from infra.kafka.codec import new_envelope
from infra.postgres.letters import Wanted, list_letters
from schemas.dead_letters import Reason
from tests.events import document
from tests.eventually import eventually
from tests.faults.arena import Arena
from tests.faults.invariants import L, O
from tests.faults.running import Running
from tests.faults.test_messages import Header, complete, produce
from tests.flow.test_commands import Ended, run
from topics.catalogue import DEAD_LETTERS, DOCUMENTS


@pytest.mark.fault(46)
@pytest.mark.slow
async def test_an_old_letter_redriven_behind_a_newer_version_regresses_nothing(
    arena: Arena, mill: Running, workspace: str, calm: str
) -> None:
    older = document("The sluice is shut.", version=2, workspace=workspace)
    newer = document("The sluice is open.", version=9, workspace=workspace)
    since = await arena.sinks.ends(DEAD_LETTERS)
    # A header that no reader can decode: the record dies before any worker sees it, and an operator can mend it.
    headers: list[Header] = [*new_envelope(older, id=older.event_id, source=older.source).headers(), ("x", None)]
    await produce(arena, DOCUMENTS.name, older.model_dump_json().encode(), headers, DOCUMENTS.key(older).encode())
    letter = await eventually(lambda: letter_of(arena, since), within=30, every=0.3)
    await arena.put(newer)
    await eventually(lambda: complete(arena, [newer]), within=30)
    same = document("The sluice is open.", version=9, workspace=calm)
    await arena.put(same)
    await eventually(lambda: complete(arena, [same]), within=30)

    refused = await millrace(arena, "redrive", str(letter), "--json")
    assert refused.status == 1, "its header is broken still"
    tried = await millrace(arena, "redrive", str(letter), "--set-header", "x=", "--dry-run", "--json")
    assert tried.json["redriven"] == 1
    assert not await receipts(arena, older.event_id), "a dry run published"
    done = await millrace(arena, "redrive", str(letter), "--set-header", "x=", "--json")
    assert done.json["redriven"] == 1
    await eventually(lambda: complete(arena, [newer, older]), within=30)
    assert await receipts(arena, older.event_id) == {"stale"}
    await L(arena.sinks, [older, newer])
    await O(arena.sinks, workspace, calm)
    await eventually(lambda: settled(arena, letter), within=20)
    # Once more, and a version behind it on the same partition: when that is there, the other has passed.
    again = await millrace(arena, "redrive", str(letter), "--set-header", "x=", "--json")
    assert again.json["redriven"] == 1
    last = [document("The sluice is gone.", version=10, workspace=name) for name in (workspace, calm)]
    await arena.put(*last)
    await eventually(lambda: complete(arena, last), within=30)
    await O(arena.sinks, workspace, calm)


async def millrace(arena: Arena, *arguments: str) -> Ended:
    return await run(arena.direct | {"MILLRACE_HOME": str(arena.folder / "none")}, "dead-letters", *arguments)


async def letter_of(arena: Arena, since: dict[int, int]) -> UUID | None:
    """Return the id of the letter about the broken record, once the ledger lists it."""
    letters = [each.letter_id for each in await arena.sinks.letters(DOCUMENTS, since)]
    if not letters:
        return None
    (written,) = set(letters)
    listed = await list_letters(arena.sinks.pool, Wanted(ids=(written,)), limit=2)
    assert [each.reason for each in listed] in ([], [Reason.INVALID_HEADERS])
    return written if listed else None


async def settled(arena: Arena, letter: UUID) -> bool:
    (listed,) = await list_letters(arena.sinks.pool, Wanted(ids=(letter,)), limit=2)
    return listed.state == "redriven"


async def receipts(arena: Arena, event: UUID) -> set[str]:
    rows = await arena.sinks.pool.fetch(
        "select outcome from receipts where event_id = $1 and sink in ('embedder/main', 'graph_builder')", event
    )
    return {row["outcome"] for row in rows}
