"""Where events stand: each state by itself, all of them counted, and a hundred thousand of them in time."""

import asyncio
import time
from uuid import uuid4

import pytest

from infra.postgres.progress import GRAPH_SINK, Completeness, completeness, event_progress
from tests.live.postgres import rows
from tests.live.postgres.conftest import Pool


@pytest.fixture
async def embedder(pool: Pool) -> str:
    return await rows.live_index(pool)


async def state(pool: Pool, workspace: str, event_id: object) -> str:
    progress = await event_progress(pool, workspace, event_id)  # type: ignore[arg-type]
    assert progress is not None
    return progress.state


async def test_an_event_goes_through_its_states(pool: Pool, workspace: str, embedder: str) -> None:
    one, two = uuid4(), uuid4()
    accepted = await rows.event(pool, workspace)
    assert await state(pool, workspace, accepted) == "accepted"
    event = await rows.event(pool, workspace, outcome="documents", documents=[one, two])
    assert await state(pool, workspace, event) == "normalised"
    await rows.receipt(pool, workspace, event, one, embedder)
    await rows.receipt(pool, workspace, event, one, GRAPH_SINK)
    await rows.receipt(pool, workspace, event, two, GRAPH_SINK)
    assert await state(pool, workspace, event) == "normalised"
    await rows.receipt(pool, workspace, event, two, "embedder/of-another-index")
    assert await state(pool, workspace, event) == "normalised"
    await rows.receipt(pool, workspace, event, two, embedder)
    assert await state(pool, workspace, event) == "complete"
    progress = await event_progress(pool, workspace, event)
    assert progress is not None
    assert [document.document_id for document in progress.documents] == [one, two]
    assert all(each.version == 7 and each.embedded_at and each.graphed_at for each in progress.documents)


async def test_searchable_is_before_graphed(pool: Pool, workspace: str, embedder: str) -> None:
    document = uuid4()
    event = await rows.event(pool, workspace, outcome="documents", documents=[document])
    await rows.receipt(pool, workspace, event, document, embedder)
    assert await state(pool, workspace, event) == "searchable"


async def test_a_dead_letter_counts_while_it_is_open_and_the_event_incomplete(
    pool: Pool, workspace: str, embedder: str
) -> None:
    dead = await rows.event(pool, workspace)
    letter = await rows.letter(pool, workspace, dead)
    assert await state(pool, workspace, dead) == "dead_lettered"
    await pool.execute("update dead_letters set state = 'redriven' where letter_id = $1", letter)
    assert await state(pool, workspace, dead) == "accepted"
    assert (await completeness(pool, workspace))["src_a"].pending == 1
    # What an operator has discarded has come to its end: it is pending no more.
    await pool.execute("update dead_letters set state = 'discarded' where letter_id = $1", letter)
    assert await state(pool, workspace, dead) == "dead_lettered"
    assert (await completeness(pool, workspace))["src_a"].dead_lettered == 1
    document = uuid4()
    done = await rows.event(pool, workspace, outcome="documents", documents=[document])
    for sink in (embedder, GRAPH_SINK):
        await rows.receipt(pool, workspace, done, document, sink)
    await rows.letter(pool, workspace, done)
    assert await state(pool, workspace, done) == "complete"


async def test_each_event_counts_once_and_in_the_right_place(pool: Pool, workspace: str, embedder: str) -> None:
    documents = [uuid4() for _ in range(6)]
    complete = await rows.event(pool, workspace, outcome="documents", documents=documents[:2])
    for document in documents[:2]:
        for sink in (embedder, GRAPH_SINK, "embedder/of-another-index"):
            await rows.receipt(pool, workspace, complete, document, sink)
    half = await rows.event(pool, workspace, outcome="documents", documents=documents[2:4])
    await rows.receipt(pool, workspace, half, documents[2], embedder)
    # Receipts of documents that the event did not become (a replay by an older normaliser) prove nothing.
    await rows.receipt(pool, workspace, half, uuid4(), embedder)
    embedded = await rows.event(pool, workspace, outcome="documents", documents=documents[4:5])
    await rows.receipt(pool, workspace, embedded, documents[4], embedder)
    dead = await rows.event(pool, workspace, outcome="documents", documents=documents[5:])
    for _ in range(2):
        await rows.letter(pool, workspace, dead)
    await rows.event(pool, workspace, outcome="not_a_document")
    await rows.event(pool, workspace, outcome="documents", documents=[])
    await rows.event(pool, workspace)
    await rows.event(pool, workspace, "src_b")
    counted = await completeness(pool, workspace)
    assert counted["src_a"] == Completeness(
        fetched=7, normalised=5, embedded=3, graphed=2, dead_lettered=1, not_a_document=1, pending=3
    )
    assert counted["src_b"] == Completeness(fetched=1, pending=1)
    assert not counted["src_a"].complete
    assert await completeness(pool, workspace, "src_b") == {"src_b": counted["src_b"]}


async def test_all_settled_is_complete(pool: Pool, workspace: str, embedder: str) -> None:
    await rows.event(pool, workspace, outcome="not_a_document")
    dead = await rows.event(pool, workspace)
    await rows.letter(pool, workspace, dead)
    assert (await completeness(pool, workspace))["src_a"].complete


async def test_nothing_of_another_workspace_is_seen(pool: Pool, workspace: str, embedder: str) -> None:
    other = f"{workspace}-2"
    document = uuid4()
    theirs = await rows.event(pool, other, outcome="documents", documents=[document])
    assert await event_progress(pool, workspace, theirs) is None
    assert await completeness(pool, workspace) == {}
    mine = await rows.event(pool, workspace, outcome="documents", documents=[document])
    # A receipt and a letter that name my event under another workspace change nothing.
    await rows.receipt(pool, other, mine, document, embedder)
    await rows.receipt(pool, other, mine, document, GRAPH_SINK)
    await rows.letter(pool, other, mine)
    assert await state(pool, workspace, mine) == "normalised"
    assert (await completeness(pool, workspace))["src_a"].pending == 1


async def test_a_hundred_thousand_events_are_counted_in_time(pool: Pool, workspace: str, embedder: str) -> None:
    """Measured: 0.3 s on two busy cores; a row-by-row plan takes minutes, and the statement is given up by then."""
    await pool.execute(
        """insert into events (event_id, workspace, source, connector, delivery, accepted_at, outcome, documents)
           select gen_random_uuid(), $1, 'src_' || n % 5, 'files', n::text, now(), 'documents', array[gen_random_uuid()]
           from generate_series(1, 100000) n""",
        workspace,
        timeout=60,
    )
    await pool.execute(
        """insert into receipts (event_id, document_id, sink, workspace, source, version, operation, outcome, at)
           select event_id, documents[1], sink, workspace, source, 1, 'upsert', 'applied', now()
           from events cross join unnest(array[$2, $3]) sink where workspace = $1""",
        workspace,
        embedder,
        GRAPH_SINK,
        timeout=60,
    )
    await pool.execute("analyze events, receipts")
    started = time.perf_counter()
    async with asyncio.timeout(60):
        counted = await completeness(pool, workspace)
    took = time.perf_counter() - started
    assert sum(each.fetched for each in counted.values()) == 100_000
    assert all(each.complete and each.graphed == 20_000 for each in counted.values())
    await pool.execute("delete from receipts where workspace = $1", workspace)
    await pool.execute("delete from events where workspace = $1", workspace)
    print(f"completeness of 100,000 events: {took:.2f} s")  # noqa: T201 - a figure worth seeing with -s
