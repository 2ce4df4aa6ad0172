"""What the rows of the ledger say."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from infra.errors import Transient
from infra.postgres.pool import open_pool
from infra.settings import PostgresSettings
from infra.telemetry.metrics import REGISTRY
from schemas.dead_letters import UNKNOWN_WORKSPACE, DeadLetter, Reason
from schemas.documents import Author
from schemas.event import MAX_VERSION
from schemas.ids import deterministic_id
from schemas.receipts import Receipt
from tests.deliveries import delivery
from tests.events import AT, document, raw_event, receipt
from workers.ledger.store import Pool
from workers.ledger.worker import open_tools, record_documents, record_events, record_letters, record_receipts


@pytest.fixture
def workspace() -> str:
    return f"w{uuid4().hex}"


async def test_an_event_is_first_accepted_then_normalised(pool: Pool, workspace: str) -> None:
    body = raw_event("d", workspace=workspace, subject="s", operation="delete", received_at=AT)
    await record_events([delivery(body, partition=2, offset=9)], pool)
    (row,) = await pool.fetch("select * from events where workspace = $1", workspace)
    assert (row["event_id"], row["source"], row["connector"], row["delivery"]) == (
        body.event_id,
        "src_a",
        "generic",
        "d",
    )
    assert (row["subject"], row["operation"], row["accepted_at"]) == ("s", "delete", AT)
    assert (row["raw_partition"], row["raw_offset"], row["outcome"], row["normalised_at"]) == (2, 9, None, None)
    told = Receipt(
        workspace=workspace,
        sink="normalizer",
        event_id=body.event_id,
        source="src_a",
        outcome="applied",
        documents=(UUID(int=1), UUID(int=2)),
        at=AT + timedelta(seconds=3),
    )
    await record_receipts([delivery(told)], pool)
    (row,) = await pool.fetch("select * from events where workspace = $1", workspace)
    assert (row["outcome"], row["documents"]) == ("documents", [UUID(int=1), UUID(int=2)])
    assert (row["accepted_at"], row["normalised_at"]) == (AT, AT + timedelta(seconds=3))


async def test_a_receipt_before_its_event_leaves_a_place_for_it(pool: Pool, workspace: str) -> None:
    event = raw_event("d", workspace=workspace)
    told = Receipt(
        workspace=workspace, sink="normalizer", event_id=event.event_id, source="src_a", outcome="not_a_document", at=AT
    )
    await record_receipts([delivery(told)], pool)
    (row,) = await pool.fetch("select * from events where workspace = $1", workspace)
    assert (row["connector"], row["delivery"], row["accepted_at"], row["outcome"]) == ("", "", None, "not_a_document")


async def test_a_document_is_kept_with_its_text(pool: Pool, workspace: str) -> None:
    body = document(
        "Zeile\x00 𝔘",
        workspace=workspace,
        version=MAX_VERSION,
        title="T",
        authors=(Author(name="Ann", handle="ann"),),
        metadata={"labels": ("a", "b"), "n": 3, "x": 1.5, "yes": True},
        updated_at=AT,
    )
    await record_documents([delivery(body)], pool)
    (row,) = await pool.fetch("select * from documents where workspace = $1", workspace)
    assert (row["text"], row["version"], row["deleted"], row["chunks"]) == ("Zeile\ufffd 𝔘", MAX_VERSION, False, 1)
    assert row["authors"] == [{"name": "Ann", "handle": "ann", "role": "author"}]
    assert row["metadata"] == {"labels": ["a", "b"], "n": 3, "x": 1.5, "yes": True}
    assert (row["created_at"], row["updated_at"], row["received_at"]) == (None, AT, AT)


async def test_a_deleted_document_keeps_no_content(pool: Pool, workspace: str) -> None:
    await record_documents(
        [delivery(document("secret", workspace=workspace, title="secret", url="https://secret"))], pool
    )
    await record_documents([delivery(document("", workspace=workspace, version=2, title="secret"))], pool)
    (row,) = await pool.fetch("select * from documents where workspace = $1", workspace)
    assert row["deleted"]
    assert "secret" not in repr(row)


async def test_one_workspace_cannot_overwrite_anothers_rows(pool: Pool, workspace: str) -> None:
    ours = document("ours", workspace=workspace)
    theirs = document("theirs", workspace=f"{workspace}b", version=9, document_id=ours.document_id)
    await record_documents([delivery(ours)], pool)
    await record_documents([delivery(theirs)], pool)
    row = await pool.fetchrow("select * from documents where document_id = $1", ours.document_id)
    assert row is not None
    assert (row["workspace"], row["text"]) == (workspace, "ours")


async def test_a_letter_keeps_both_coordinates_and_opens_again(pool: Pool) -> None:
    body = DeadLetter(
        workspace=UNKNOWN_WORKSPACE,
        letter_id=deterministic_id("letter", uuid4().hex),
        event_id=None,
        reason=Reason.INVALID_HEADERS,
        detail="header workspace is missing",
        worker="normalizer",
        worker_version="1",
        attempts=1,
        first_at=AT,
        last_at=AT,
        topic="raw.events",
        partition=3,
        offset=8,
        timestamp=AT,
        key=None,
        value=None,
        headers=(),
    )
    await record_letters([delivery(body, partition=1, offset=4)], pool)
    statement = "select * from dead_letters where letter_id = $1"
    row = await pool.fetchrow(statement, body.letter_id)
    assert row is not None
    assert (row["partition"], row["offset"], row["letter_partition"], row["letter_offset"]) == (3, 8, 1, 4)
    assert (row["event_id"], row["state"], row["reason"]) == (None, "open", "invalid_headers")
    await pool.execute("update dead_letters set state = 'redriven' where letter_id = $1", body.letter_id)
    await record_letters([delivery(body, partition=1, offset=5)], pool)
    assert (await pool.fetchrow(statement, body.letter_id))["state"] == "redriven"  # type: ignore[index]
    later = body.model_copy(update={"last_at": AT + timedelta(days=1)})
    await record_letters([delivery(later, partition=1, offset=6)], pool)
    row = await pool.fetchrow(statement, body.letter_id)
    assert row is not None
    assert (row["state"], row["letter_offset"]) == ("open", 6)


def searchable_count(connector: str) -> float:
    return REGISTRY.get_sample_value("millrace_searchable_seconds_count", {"connector": connector}) or 0.0


def searchable_sum(connector: str) -> float:
    return REGISTRY.get_sample_value("millrace_searchable_seconds_sum", {"connector": connector}) or 0.0


async def test_the_time_until_searchable_is_measured_once_and_for_the_live_index(pool: Pool, workspace: str) -> None:
    insert = "insert into indexes (index_id, collection, model, dimension, state) values ($1, $1, 'm', 3, $2)"
    await pool.executemany(insert, [("alive", "live"), ("next", "building")])
    connector = f"c{uuid4().hex[:8]}"
    version = document(workspace=workspace, version=1, connector=connector)
    event = raw_event("1/1", workspace=workspace, connector=connector, received_at=AT)
    assert event.event_id == version.event_id
    await record_events([delivery(event)], pool)
    done = receipt(version, "embedder/alive").model_copy(update={"at": AT + timedelta(seconds=2)})
    for body in (done.model_copy(update={"sink": "embedder/next"}), receipt(version, "graph_builder")):
        await record_receipts([delivery(body)], pool)
    assert searchable_count(connector) == 0
    await record_receipts([delivery(done), delivery(done)], pool)
    assert (searchable_count(connector), searchable_sum(connector)) == (1, 2)
    await record_receipts([delivery(done)], pool)
    assert searchable_count(connector) == 1


async def test_batches_over_the_same_events_do_not_block_each_other_for_ever(pool: Pool, workspace: str) -> None:
    raws = [delivery(raw_event(f"d{n}", workspace=workspace), offset=n) for n in range(60)]
    told = [
        delivery(
            Receipt(
                workspace=workspace,
                sink="normalizer",
                event_id=raw.body.event_id,
                source="src_a",
                outcome="not_a_document",
                at=AT,
            )
        )
        for raw in reversed(raws)
    ]
    await asyncio.gather(*(f(pool) for _ in range(4) for f in (
        lambda p: record_events(raws, p), lambda p: record_receipts(told, p), lambda p: record_events(raws[::-1], p),
    )))  # fmt: skip
    counted = "select count(*) from events where workspace = $1 and accepted_at is not null and outcome is not null"
    assert await pool.fetchval(counted, workspace) == 60


async def test_a_server_that_is_away_is_transient() -> None:
    settings = PostgresSettings.model_validate({"POSTGRES_DSN": "postgresql://a:b@127.0.0.1:9/x"})
    async with open_pool(settings) as away:
        with pytest.raises(Transient):
            await record_documents([delivery(document())], away)


async def test_nothing_to_write_is_no_statement(pool: Pool) -> None:
    assert list(await record_events([], pool)) == []
    assert list(await record_documents([], pool)) == []
    assert list(await record_receipts([], pool)) == []
    assert list(await record_letters([], pool)) == []


async def test_the_tools_come_from_the_environment(postgres: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_DSN", postgres["POSTGRES_DSN"])
    async with open_tools() as opened:
        assert await opened.fetchval("select 1") == 1
