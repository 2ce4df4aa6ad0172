from dataclasses import replace
from datetime import timedelta
from typing import Literal
from uuid import UUID

from infra.postgres.receipts import EXPIRED_AFTER, SinkReceipt, deletion_of
from schemas.event import now
from tests.events import AT

SINKS = ("embedder/a", "graph_builder", "ledger")


def told(sink: str, version: int, operation: Literal["upsert", "delete"], after: int = 0) -> SinkReceipt:
    return SinkReceipt(sink, version, operation, "applied", 0, UUID(int=version), AT + timedelta(seconds=after))


def test_a_document_that_was_never_deleted_has_no_deletion() -> None:
    assert deletion_of([told("graph_builder", 1, "upsert")], SINKS, None) is None


def test_each_sink_confirms_for_itself_at_its_first_word() -> None:
    receipts = [
        told("graph_builder", 2, "delete", 5),
        told("graph_builder", 2, "delete", 3),
        told("ledger", 1, "upsert"),
    ]
    found = deletion_of(receipts, SINKS, None)
    assert found is not None
    assert found.confirmed == {"embedder/a": None, "graph_builder": AT + timedelta(seconds=3), "ledger": None}
    assert not found.complete


def test_a_later_version_shows_that_the_deleted_one_is_gone() -> None:
    receipts = [told(sink, 2, "delete") for sink in SINKS[:2]] + [told("ledger", 3, "upsert")]
    found = deletion_of(receipts, SINKS, None)
    assert found is not None
    assert (found.version, found.complete) == (2, True)


def test_an_upsert_of_the_same_version_confirms_nothing() -> None:
    found = deletion_of([told("ledger", 2, "delete"), told("graph_builder", 2, "upsert")], SINKS, None)
    assert found is not None
    assert found.confirmed["graph_builder"] is None


def test_a_deletion_may_be_known_from_the_table_alone() -> None:
    found = deletion_of([], SINKS, 4)
    assert found is not None
    assert (found.version, found.event_id, found.complete) == (4, None, False)


def test_a_sink_that_is_no_longer_asked_does_not_count() -> None:
    found = deletion_of([told("embedder/retired", 2, "delete")], SINKS, None)
    assert found is not None
    assert set(found.confirmed) == set(SINKS)


def test_kept_answers_of_long_ago_have_expired_without_a_word() -> None:
    sinks = (*SINKS, "answer_cache")
    old = [told(sink, 2, "delete") for sink in SINKS]
    found = deletion_of(old, sinks, None)
    assert found is not None
    assert found.confirmed["answer_cache"] == AT + EXPIRED_AFTER
    recent = [replace(each, at=now()) for each in old]
    found = deletion_of(recent, sinks, None)
    assert found is not None
    assert found.confirmed["answer_cache"] is None
    assert not found.complete
    found = deletion_of(old[:2], sinks, None)
    assert found is not None
    assert found.confirmed["answer_cache"] is None
