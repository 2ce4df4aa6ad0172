"""Whatever the order of arrival, the ledger ends with the rows of a serial run."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import permutations
from uuid import UUID, uuid4

import pytest

from schemas.dead_letters import DeadLetter, LetterMark, Reason
from schemas.documents import Author
from schemas.event import Event
from schemas.ids import deterministic_id, event_id
from schemas.receipts import Receipt
from tests.deliveries import delivery
from tests.events import AT, document, raw_event, receipt
from workers.ledger.store import Pool
from workers.ledger.worker import record_documents, record_events, record_letters, record_marks, record_receipts

Step = Callable[[Pool], Awaitable[object]]
SECOND = timedelta(seconds=1)


def accepted(workspace: str, offset: int) -> Step:
    """The sender's delivery `d`, accepted at `offset` seconds and standing there."""
    body = raw_event("d", workspace=workspace, subject="s", received_at=AT + offset * SECOND)
    return lambda pool: record_events([delivery(body, offset=offset)], pool)


def normalised(workspace: str, outcome: str, after: int) -> Step:
    body = Receipt.model_validate(
        {
            "workspace": workspace,
            "sink": "normalizer",
            "event_id": event_id(workspace, "src_a", "d"),
            "source": "src_a",
            "outcome": outcome,
            "documents": [UUID(int=1), UUID(int=2)] if outcome == "applied" else [],
            "detail": f"after {after}",
            "at": AT + after * SECOND,
        }
    )
    return lambda pool: record_receipts([delivery(body)], pool)


def sunk(workspace: str, outcome: str, after: int, version: int = 1) -> Step:
    body = receipt(document(workspace=workspace, version=version), "embedder/x").model_copy(
        update={"outcome": outcome, "at": AT + after * SECOND, "event_id": event_id(workspace, "src_a", "d")}
    )
    return lambda pool: record_receipts([delivery(body)], pool)


def talked(workspace: str, outcome: str, after: int, sink: str = "archivist") -> Step:
    """What a sink says of the deletion of conversation 9."""
    body = receipt(document("", workspace=workspace, version=4), sink).model_copy(
        update={
            "about": "conversation",
            "document_id": UUID(int=9),
            "outcome": outcome,
            "at": AT + after * SECOND,
            "event_id": event_id(workspace, "src_a", "d"),
        }
    )
    return lambda pool: record_receipts([delivery(body)], pool)


def written(workspace: str, text: str, version: int) -> Step:
    body = document(
        text, workspace=workspace, version=version, title=text, authors=(Author(name="Ann"),) if text else ()
    )
    return lambda pool: record_documents([delivery(body)], pool)


def buried(workspace: str, after: int, offset: int) -> Step:
    body = letter(workspace).model_copy(update={"last_at": AT + after * SECOND, "attempts": after + 1})
    return lambda pool: record_letters([delivery(body, offset=offset)], pool)


def marked(workspace: str, state: str, after: int, offset: int) -> Step:
    """An operator settles the letter that stands at `offset`."""
    body = LetterMark.model_validate(
        {
            "workspace": workspace,
            "mark_id": deterministic_id("mark", workspace, str(after)),
            "letter_id": letter(workspace).letter_id,
            "state": state,
            "letter_partition": 0,
            "letter_offset": offset,
            "by": "ann",
            "at": AT + after * SECOND,
        }
    )
    return lambda pool: record_marks([delivery(body)], pool)


def letter(workspace: str) -> DeadLetter:
    return DeadLetter(
        workspace=workspace,
        letter_id=deterministic_id("letter", workspace),
        event_id=event_id(workspace, "src_a", "d"),
        source="src_a",
        reason=Reason.INVALID_JSON,
        detail="no JSON",
        worker="normalizer",
        worker_version="1",
        attempts=1,
        first_at=AT,
        last_at=AT,
        topic="raw.events",
        partition=0,
        offset=7,
        timestamp=AT,
        key=None,
        value=b"{",
        headers=(),
    )


HISTORIES: dict[str, Callable[[str], list[Step]]] = {
    "event and redelivery before and after the normalizer": lambda w: [
        accepted(w, 5),
        accepted(w, 9),
        normalised(w, "applied", 20),
        normalised(w, "duplicate", 30),
    ],
    "event normalised again with another outcome": lambda w: [
        accepted(w, 5),
        normalised(w, "not_a_document", 20),
        normalised(w, "applied", 40),
    ],
    "receipts, redelivered and overtaken": lambda w: [
        accepted(w, 1),
        sunk(w, "applied", 5),
        sunk(w, "applied", 9),
        sunk(w, "stale", 3),
    ],
    "receipts of a version raised by replay": lambda w: [
        sunk(w, "applied", 5, version=1),
        sunk(w, "stale", 9, version=2),
        sunk(w, "applied", 12, version=2),
    ],
    "a conversation deleted, told again": lambda w: [
        talked(w, "applied", 5),
        talked(w, "applied", 2),
        talked(w, "stale", 1),
        talked(w, "applied", 7, sink="answer_cache"),
    ],
    "document ended by a deletion": lambda w: [
        written(w, "one", 1),
        written(w, "two", 2),
        written(w, "two", 2),
        written(w, "", 3),
    ],
    "document created again": lambda w: [
        written(w, "one", 1),
        written(w, "", 2),
        written(w, "one", 1),
        written(w, "new", 3),
    ],
    "a record that dies twice": lambda w: [buried(w, 1, 10), buried(w, 8, 11), buried(w, 1, 12)],
    "a letter discarded, then redriven": lambda w: [
        buried(w, 1, 10),
        marked(w, "discarded", 3, 10),
        marked(w, "redriven", 5, 10),
        marked(w, "discarded", 3, 10),
    ],
    "a record redriven that dies again": lambda w: [buried(w, 1, 10), marked(w, "redriven", 3, 10), buried(w, 8, 11)],
    "a record redriven twice": lambda w: [
        buried(w, 1, 10),
        marked(w, "redriven", 3, 10),
        buried(w, 8, 11),
        marked(w, "redriven", 9, 11),
    ],
}

ENDS = {
    "a letter discarded, then redriven": "redriven",
    "a record redriven that dies again": "open",
    "a record redriven twice": "redriven",
}

TABLES = ("events", "receipts", "conversation_receipts", "documents", "dead_letters", "letter_marks")


async def rows(pool: Pool, workspace: str) -> str:
    """Return all rows of `workspace` without the ids that its name is part of."""
    found = []
    for table in TABLES:
        for row in await pool.fetch(f"select * from {table} where workspace = $1", workspace):  # noqa: S608
            hidden = {"workspace", "event_id", "document_id", "letter_id", "mark_id"}
            found.append((table, sorted((k, repr(v)) for k, v in row.items() if k not in hidden)))
    return repr(sorted(found))


@pytest.mark.parametrize("name", HISTORIES)
async def test_every_order_ends_as_the_serial_run(pool: Pool, name: str) -> None:
    history = HISTORIES[name]
    serial = f"w{uuid4().hex}"
    for step in history(serial):
        await step(pool)
    expected = await rows(pool, serial)
    assert len(expected) > 10
    for order in permutations(range(len(history(serial)))):
        workspace = f"w{uuid4().hex}"
        for position in order:
            await history(workspace)[position](pool)
        assert await rows(pool, workspace) == expected, order


@pytest.mark.parametrize("name", ENDS)
async def test_a_letter_ends_in_the_state_of_its_last_mark(pool: Pool, name: str) -> None:
    workspace = f"w{uuid4().hex}"
    for step in HISTORIES[name](workspace):
        await step(pool)
    assert await pool.fetchval("select state from dead_letters where workspace = $1", workspace) == ENDS[name]


async def test_a_mark_speaks_of_letters_of_its_own_workspace_alone(pool: Pool) -> None:
    ours, theirs = f"w{uuid4().hex}", f"w{uuid4().hex}"
    await buried(ours, 1, 10)(pool)
    foreign = LetterMark(
        workspace=theirs,
        mark_id=uuid4(),
        letter_id=letter(ours).letter_id,
        state="discarded",
        letter_partition=0,
        letter_offset=10,
        by="eve",
        at=AT,
    )
    await record_marks([delivery(foreign)], pool)
    assert await pool.fetchval("select state from dead_letters where workspace = $1", ours) == "open"


async def test_letters_and_marks_written_at_once_see_each_other(pool: Pool) -> None:
    workspaces = [f"w{uuid4().hex}" for _ in range(40)]
    steps = [step for w in workspaces for step in (buried(w, 1, 10), marked(w, "redriven", 3, 10))]
    await asyncio.gather(*(step(pool) for step in steps))
    states = await pool.fetch("select state from dead_letters where workspace = any ($1)", workspaces)
    assert [row["state"] for row in states] == ["redriven"] * 40


def batch_of(*bodies: Event) -> list[object]:
    return [delivery(body, offset=offset) for offset, body in enumerate(bodies)]


async def test_a_batch_may_hold_the_same_thing_many_times(pool: Pool) -> None:
    workspace = f"w{uuid4().hex}"
    raws = [raw_event("d", workspace=workspace, received_at=AT + n * SECOND) for n in (3, 1, 2)]
    await record_events([delivery(body, offset=offset) for offset, body in enumerate(raws)], pool)
    (event,) = await pool.fetch("select * from events where workspace = $1", workspace)
    assert (event["accepted_at"], event["raw_offset"]) == (AT + SECOND, 1)
    versions = [document(text, workspace=workspace, version=n) for text, n in (("b", 2), ("c", 3), ("a", 1), ("d", 3))]
    await record_documents([delivery(body) for body in versions], pool)
    (stored,) = await pool.fetch("select * from documents where workspace = $1", workspace)
    assert (stored["text"], stored["version"]) == ("d", 3)
    receipts = [receipt(versions[0]).model_copy(update={"outcome": o}) for o in ("stale", "applied", "stale")]
    await record_receipts([delivery(body) for body in receipts], pool)
    assert await pool.fetchval("select outcome from receipts where workspace = $1", workspace) == "applied"
