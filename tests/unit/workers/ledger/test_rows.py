from uuid import UUID

from schemas.dead_letters import DeadLetter, Reason
from schemas.documents import Author
from schemas.ids import deterministic_id
from tests.deliveries import delivery
from tests.events import AT, document, raw_event, receipt
from workers.ledger.rows import (
    conversation_receipt_row,
    document_row,
    event_row,
    letter_row,
    normalised_row,
    receipt_row,
)


def test_an_accepted_event_keeps_its_coordinates() -> None:
    row = event_row(delivery(raw_event("d1", subject="s"), partition=3, offset=41))
    assert (row.raw_partition, row.raw_offset, row.accepted_at, row.delivery, row.subject) == (3, 41, AT, "d1", "s")


def test_only_the_normalizer_speaks_of_an_event() -> None:
    version = document()
    event = {"document_id": None, "version": None, "operation": None, "documents": (version.document_id,)}
    event["superseded"] = (UUID(int=3),)
    told = receipt(version, "normalizer").model_copy(update=event)
    row = normalised_row(told)
    assert row is not None
    assert (row.outcome, row.documents) == ("documents", "{" + str(version.document_id) + "}")
    assert receipt_row(told) is None
    assert row.superseded == "{00000000-0000-0000-0000-000000000003}"
    nothing = normalised_row(told.model_copy(update={"outcome": "not_a_document", "documents": ()}))
    assert nothing is not None
    assert (nothing.outcome, nothing.documents) == ("not_a_document", "{}")
    assert normalised_row(told.model_copy(update={"outcome": "duplicate"})) is None
    assert normalised_row(receipt(version)) is None


def test_a_sinks_receipt_is_a_row() -> None:
    row = receipt_row(receipt(document(version=5), "embedder/main", parts=3))
    assert row is not None
    assert (row.sink, row.version, row.operation, row.outcome, row.parts) == (
        "embedder/main",
        5,
        "upsert",
        "applied",
        3,
    )


def test_a_receipt_of_a_conversation_is_no_row_of_documents() -> None:
    told = receipt(document("", version=5), "answer_cache", about="conversation", parts=3)
    assert receipt_row(told) is None
    row = conversation_receipt_row(told)
    assert row is not None
    assert (row.conversation_id, row.sink, row.version, row.parts) == (told.document_id, "answer_cache", 5, 3)
    of_document = receipt(document("", version=5), "answer_cache")
    assert conversation_receipt_row(of_document) is None
    assert receipt_row(of_document) is not None


def test_a_document_keeps_its_text_and_null_characters_keep_their_place() -> None:
    row = document_row(document("a\x00b", authors=(Author(name="Ann\x00"),), metadata={"k\x00": ("v\x00", "w")}))
    assert row.text == "a\ufffdb"
    assert row.chunks == 1
    assert row.authors == '[{"name":"Ann\ufffd","handle":"","role":"author"}]'
    assert row.metadata == '{"k\ufffd":["v\ufffd","w"]}'


def test_a_deletion_keeps_nothing_that_the_source_said() -> None:
    row = document_row(
        document("", title="t", url="u", authors=(Author(name="Ann"),), metadata={"k": 1}, language="en")
    )
    assert row.deleted
    assert (row.title, row.url, row.language, row.text, row.chunks, row.authors, row.metadata) == (
        "",
        "",
        "",
        "",
        0,
        "[]",
        "{}",
    )
    assert row.external_id == "1"


def test_a_letter_points_at_itself_and_at_its_record() -> None:
    letter = DeadLetter(
        workspace="acme",
        letter_id=deterministic_id("letter", "x"),
        event_id=UUID(int=1),
        reason=Reason.INVALID_JSON,
        detail="no",
        worker="normalizer",
        worker_version="1",
        attempts=1,
        first_at=AT,
        last_at=AT,
        topic="raw.events",
        partition=1,
        offset=2,
        timestamp=AT,
        key=None,
        value=b"{",
        headers=(),
    )
    row = letter_row(delivery(letter, partition=4, offset=5))
    assert (row.topic, row.partition, row.offset, row.letter_partition, row.letter_offset) == ("raw.events", 1, 2, 4, 5)
    assert row.reason == "invalid_json"
