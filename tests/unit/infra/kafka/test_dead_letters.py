from typing import Any

from infra.kafka.codec import new_envelope
from infra.kafka.dead_letters import buried_by_another, letter_for
from schemas.dead_letters import DeadLetter, Reason
from tests.events import AT, raw_event
from tests.records import RawRecord
from topics.catalogue import DEAD_LETTERS, DOCUMENTS, RAW_EVENTS


def letter(record: RawRecord, **told: Any) -> DeadLetter:
    fields: dict[str, Any] = {"reason": Reason.INVALID_JSON, "detail": "x" * 9_000, "attempts": 2, "first_at": AT}
    return letter_for(record, worker="normalizer", **{"root": None, **fields, **told})


def test_the_original_survives_byte_for_byte() -> None:
    record = RawRecord(
        value=b"\xff\xfe\x00",
        key=b"\x80",
        offset=7,
        headers=[("bad", None), ("worse", b"\xff"), ("workspace", b"acme")],
    )
    back = DeadLetter.model_validate_json(letter(record).model_dump_json())
    assert (back.value, back.key) == (record.value, record.key)
    assert [(header.name, header.value) for header in back.headers] == record.headers
    assert (back.topic, back.partition, back.offset, back.workspace) == ("raw.events", 0, 7, "acme")
    assert len(back.detail) == 2_000


def test_the_same_record_dies_once() -> None:
    assert letter(RawRecord(offset=1)).letter_id == letter(RawRecord(offset=1)).letter_id
    assert letter(RawRecord(offset=1)).letter_id != letter(RawRecord(offset=2)).letter_id


def test_a_record_without_a_readable_workspace_belongs_to_nobody() -> None:
    assert letter(RawRecord(headers=[("workspace", b"\xff")])).workspace == "unattributed"
    assert letter(RawRecord(headers=[])).workspace == "unattributed"
    assert letter(RawRecord(headers=[("workspace", b"UPPER CASE")])).workspace == "unattributed"


def test_what_nobody_can_read_is_the_first_consumers_to_bury() -> None:
    assert [buried_by_another(name, RAW_EVENTS, Reason.INVALID_JSON) for name in RAW_EVENTS.consumers] == [False, True]
    assert [buried_by_another(name, DOCUMENTS, Reason.NULL_BODY) for name in DOCUMENTS.consumers] == [False, True, True]
    assert not buried_by_another("ledger", DEAD_LETTERS, Reason.INVALID_HEADERS)


def test_what_only_this_reader_cannot_read_is_its_own_to_bury() -> None:
    for reason in (Reason.SCHEMA_UNSUPPORTED, Reason.BODY_MISSING, Reason.HANDLER_ERROR):
        assert not buried_by_another("ledger", RAW_EVENTS, reason)


def test_the_source_is_that_of_the_event_and_not_who_published_the_record() -> None:
    body = raw_event()
    headers: list[tuple[str, bytes | None]] = list(new_envelope(body, id=body.event_id, source="/gateway").headers())
    assert letter(RawRecord(headers=headers), source="src_a").source == "src_a"
    assert letter(RawRecord(headers=headers)).source == ""
