"""Every count over a database in which everything exists at once: whatever stands beside it, it says what is so."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from infra.postgres.conversations import list_conversations
from infra.postgres.corpus import list_documents
from infra.postgres.lags import lags
from infra.postgres.ledger import ledger_sources, list_workspaces, workspaces_of
from infra.postgres.letters import Wanted, count_letters
from infra.postgres.progress import Completeness, completeness, event_progress, letter_reasons
from infra.postgres.receipts import conversation_receipts, document_receipts
from infra.reconcile.expected import pages, unknown
from schemas.dead_letters import DeadLetter, LetterMark, Reason
from schemas.feedback import Feedback
from schemas.ids import deterministic_id, event_id
from schemas.receipts import Receipt
from tests.databases import fresh_database
from tests.deliveries import delivery
from tests.events import AT, document, raw_event, receipt
from tests.live.workers.archivist.said import CONVERSATION, asked, changed
from workers.archivist.changes import receipt_of
from workers.archivist.idle import Tools
from workers.archivist.settings import ArchivistSettings
from workers.archivist.worker import archive, change, rate
from workers.forgetter.forget import confirmation
from workers.ledger.rows import deletion_receipt
from workers.ledger.store import Pool
from workers.ledger.worker import record_documents, record_events, record_letters, record_marks, record_receipts

OURS, THEIRS = "ours", "theirs"
LIVE, BUILDING, RETIRED, GRAPH = "embedder/live", "embedder/next", "embedder/old", "graph_builder"


class World:
    """One workspace, told of by the events that all workers publish."""

    def __init__(self, pool: Pool, workspace: str) -> None:
        self.pool = pool
        self.workspace = workspace

    def event(self, name: str) -> UUID:
        return event_id(self.workspace, "src_a", name)

    async def accepted(self, name: str, *became: UUID, superseded: UUID | None = None, nothing: bool = False) -> UUID:
        """The door and the normalizer speak of an event; without documents only the door has."""
        raw = raw_event(name, workspace=self.workspace)
        await record_events([delivery(raw)], self.pool)
        if became or superseded or nothing:
            told = Receipt(
                workspace=self.workspace,
                sink="normalizer",
                event_id=raw.event_id,
                source="src_a",
                outcome="not_a_document" if nothing else "applied",
                documents=became,
                superseded=(superseded,) if superseded else (),
                at=AT,
            )
            await record_receipts([delivery(told)], self.pool)
        return raw.event_id

    async def version(self, external_id: str, version: int, *sinks: str, text: str = "A text.") -> UUID:
        """A version that came of an event `external_id/version`, taken by `sinks`."""
        body = document(text, workspace=self.workspace, external_id=external_id, version=version)
        await self.accepted(f"{external_id}/{version}", body.document_id)
        await record_documents([delivery(body)], self.pool)
        told = [receipt(body, sink) for sink in sinks] + ([] if text else [deletion_receipt(body)])
        await record_receipts([delivery(each) for each in told], self.pool)
        return body.document_id

    async def letter(
        self,
        name: str,
        worker: str,
        state: str = "open",
        reason: Reason = Reason.INVALID_JSON,
        topic: str = "raw.events",
    ) -> None:
        letter = DeadLetter(
            workspace=self.workspace,
            letter_id=deterministic_id("letter", self.workspace, name, worker),
            event_id=self.event(name),
            source="src_a",
            reason=reason,
            detail="no",
            worker=worker,
            worker_version="1",
            attempts=1,
            first_at=AT,
            last_at=AT + timedelta(seconds=worker == "graph_builder"),
            topic=topic,
            partition=0,
            offset=1,
            timestamp=AT,
            key=None,
            value=b"{",
            headers=(),
        )
        await record_letters([delivery(letter, offset=5)], self.pool)
        if state == "open":
            return
        mark = {"letter_partition": 0, "letter_offset": 5, "by": "ann", "at": AT, "state": state}
        names = {"workspace": self.workspace, "mark_id": uuid4(), "letter_id": letter.letter_id}
        await record_marks([delivery(LetterMark.model_validate({**mark, **names}))], self.pool)


async def documents(world: World) -> None:
    """Nine events of documents: five done, two pending, and what stands beside them."""
    everywhere = (LIVE, BUILDING, RETIRED, GRAPH)
    whole = await world.version("whole", 1, *everywhere)
    await world.version("whole", 2, *everywhere)
    await world.accepted("late", superseded=whole)
    await world.accepted("ping", nothing=True)
    await world.version("elsewhere", 1, BUILDING, RETIRED, GRAPH)
    await world.version("ungraphed", 1, LIVE)
    await world.version("gone", 1, *everywhere)
    await world.version("gone", 2, *everywhere, "answer_cache", text="")


async def letters(world: World) -> None:
    """Five events with letters, of which one is done and one on its way again, and a letter of a question."""
    for name, state in (("open", "open"), ("discarded", "discarded"), ("redriven", "redriven")):
        await world.accepted(name)
        await world.letter(name, "normalizer", state)
    await world.version("done", 1, LIVE, GRAPH)
    await world.letter("done/1", "ledger", reason=Reason.REFUSED_BY_SINK)
    await world.version("twice", 1)
    await world.letter("twice/1", "embedder", reason=Reason.REFUSED_BY_SINK, topic="documents")
    await world.letter("twice/1", "graph_builder", "discarded", reason=Reason.INVALID_JSON, topic="documents")
    await world.letter("a question", "inference", topic="chat.prompts")


async def conversations(world: World) -> None:
    """One deleted with a rating, one archived, one that goes on; the deletion is confirmed by archivist and cache."""
    tools = Tools(world.pool, ArchivistSettings())
    ours = world.workspace
    talks = [asked(ours, "q", 1), asked(ours, "a", 2, conversation_id=UUID(int=8))]
    talks += [asked(ours, f"p{number}", number, conversation_id=UUID(int=9)) for number in (3, 4)]
    await archive([delivery(each) for each in talks], tools)
    given = {"workspace": ours, "event_id": uuid4(), "request_id": talks[0].request_id, "rating": "up", "given_at": AT}
    await rate([delivery(Feedback.model_validate(given))], tools)
    put_away = changed(ours, 10, conversation_id=UUID(int=8), archived=True)
    doomed = delivery(changed(ours, 11, operation="delete"), offset=1)
    await change([delivery(put_away), doomed], tools)
    told = receipt_of(doomed, 1)
    await record_receipts([delivery(told), delivery(confirmation(told))], world.pool)


@pytest.fixture(scope="module")
async def full(postgres: dict[str, str]) -> AsyncIterator[Pool]:
    async with fresh_database(postgres) as pool:
        for state in ("live", "building", "retired"):
            name = {"live": "live", "building": "next", "retired": "old"}[state]
            await pool.execute("insert into indexes values ($1, $1, 'm', 384, $2)", name, state)
        for workspace in (OURS, THEIRS):
            world = World(pool, workspace)
            await documents(world)
            await letters(world)
            await conversations(world)
        yield pool


async def test_every_event_is_counted_once_by_what_became_of_it(full: Pool) -> None:
    found = await completeness(full, OURS)
    assert found == {
        "src_a": Completeness(
            fetched=13,
            normalised=9,
            embedded=7,
            graphed=7,
            dead_lettered=3,
            not_a_document=1,
            pending=3,
        )
    }
    every = await full.fetch("select event_id from events where workspace = $1", OURS)
    states = [await event_progress(full, OURS, row["event_id"]) for row in every]
    counted = [each.state for each in states if each]
    assert {state: counted.count(state) for state in set(counted)} == {
        "complete": 6,
        "not_a_document": 1,
        "searchable": 1,
        "normalised": 1,
        "accepted": 1,
        "dead_lettered": 3,
    }


async def test_reasons_add_up_to_the_events_that_were_given_up(full: Pool) -> None:
    reasons = await letter_reasons(full, OURS, "src_a")
    assert sum(events for *_, events in reasons) == (await completeness(full, OURS))["src_a"].dead_lettered
    # Of the event with two letters the later one counts.
    assert reasons == [("invalid_json", "discarded", 2), ("invalid_json", "open", 1)]


async def test_letters_are_counted_by_state_whatever_they_speak_of(full: Pool) -> None:
    counts = await count_letters(full, Wanted(workspace=OURS))
    assert {(each.state, each.topic): each.letters for each in counts if each.topic != "raw.events"} == {
        ("open", "documents"): 1,
        ("discarded", "documents"): 1,
        ("open", "chat.prompts"): 1,
    }
    assert sum(each.letters for each in counts) == 7
    assert sum(each.letters for each in await count_letters(full, Wanted())) == 14


async def test_only_documents_are_documents(full: Pool) -> None:
    names = ("whole", "elsewhere", "ungraphed", "gone", "done", "twice")
    held = {document(workspace=OURS, external_id=name).document_id for name in names}
    known = [each for page in [page async for page in pages(full, OURS, None, 2)] for each in page]
    assert (len(known), {each.document_id for each in known}) == (6, held)
    assert [each.deleted for each in known].count(True) == 1
    assert len(await list_documents(full, OURS)) == 5
    assert await unknown(full, OURS, [CONVERSATION, *held]) == [CONVERSATION]
    assert await document_receipts(full, OURS, CONVERSATION) is None
    assert await workspaces_of(full, CONVERSATION) == []


async def test_a_deletion_is_proven_by_the_indexes_that_count(full: Pool) -> None:
    gone = document(workspace=OURS, external_id="gone").document_id
    proof = await document_receipts(full, OURS, gone)
    assert proof is not None
    assert proof.deletion is not None
    assert set(proof.deletion.confirmed) == {LIVE, BUILDING, GRAPH, "ledger", "answer_cache"}
    assert proof.deletion.complete


async def test_a_deleted_conversation_is_proven_and_counts_nowhere(full: Pool) -> None:
    proof = await conversation_receipts(full, OURS, CONVERSATION)
    assert proof is not None
    assert (proof.deleted, {(each.sink, each.parts) for each in proof.receipts}) == (
        True,
        {("archivist", 1), ("answer_cache", 0)},
    )
    assert [each.messages for each in await list_conversations(full, OURS, limit=10)] == [4]
    assert [each.messages for each in await list_conversations(full, OURS, archived=True, limit=10)] == [2]


async def test_sources_workspaces_and_lag_are_those_of_events(full: Pool) -> None:
    assert [(each.workspace, each.source) for each in await ledger_sources(full, None, None)] == [
        (OURS, "src_a"),
        (THEIRS, "src_a"),
    ]
    assert await list_workspaces(full) == [OURS, THEIRS]
    (lag,) = await lags(full, AT, OURS)
    # whole twice, ungraphed, gone, done: of the live index alone, and no deletion.
    assert (lag.connector, lag.documents) == ("generic", 5)
