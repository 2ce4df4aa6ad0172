import base64

import pytest

from infra.kafka.codec import new_envelope
from infra.kafka.content import SHOWN_BYTES, content_of
from infra.kafka.dead_letters import letter_for
from infra.kafka.redrive import NotRedrivableError, again, encoded_mark, mark, revive
from schemas.dead_letters import DeadLetter, LetterMark, Reason
from schemas.envelope import Envelope
from schemas.ids import deterministic_id
from tests.events import AT, raw_event
from tests.records import RawRecord

EVENT = raw_event("d1")
HEADERS: list[tuple[str, bytes | None]] = list(new_envelope(EVENT, id=EVENT.event_id, source="src_a").headers())


def letter(record: RawRecord, attempts: int = 1) -> DeadLetter:
    return letter_for(
        record, worker="w", reason=Reason.HANDLER_ERROR, detail="", attempts=attempts, first_at=AT, root=None
    )


def died(offset: int = 7, **fields: object) -> RawRecord:
    values = {"value": b"\xff\x00", "key": b"\x80", "headers": HEADERS, **fields}
    return RawRecord(partition=3, offset=offset, **values)  # type: ignore[arg-type]


def test_bytes_key_and_headers_are_the_original_ones() -> None:
    back = revive(letter(died()))
    assert (back.topic, back.key, back.value, back.partition) == ("raw.events", b"\x80", b"\xff\x00", None)
    assert back.headers[: len(HEADERS)] == HEADERS
    assert dict(back.headers[len(HEADERS) :]) == {"origin": b"raw.events:3:7", "attempts": b"1"}
    assert Envelope.from_headers(back.headers).id == EVENT.event_id


def test_the_letter_of_a_redriven_record_is_the_same_one_counting_on() -> None:
    first = letter(died(), attempts=2)
    for offset in (90, 91):
        # Redelivered, the redriven record counts the same.
        second = letter(died(offset, headers=list(revive(first).headers)), attempts=3)
        assert second.letter_id == first.letter_id
        assert (second.attempts, second.topic, second.partition, second.offset) == (5, "raw.events", 3, 7)
    third = revive(second)
    assert dict(third.headers)["origin"] == b"raw.events:3:7"
    assert [name for name, _ in third.headers].count("attempts") == 1


def test_an_origin_in_another_topic_or_unreadable_is_none() -> None:
    own = letter(died()).letter_id
    for value in (b"documents:3:9", b"nonsense", b"\xff", None):
        assert letter(died(headers=[*HEADERS, ("origin", value)])).letter_id == own
    for value in (b"many", b"-1", b"\xb2", b"9" * 11, None):
        assert letter(died(headers=[*HEADERS, ("attempts", value)])).attempts == 1
    assert letter(died(headers=[*HEADERS, ("attempts", b"9" * 10)])).attempts == 2**31 - 1


def test_broken_headers_are_mended_by_name() -> None:
    broken = [(name, value) for name, value in HEADERS if name != "ce_time"] + [("x", None), ("y", b"\xff")]
    whole = letter(died(headers=broken))
    with pytest.raises(NotRedrivableError, match="header 'x' is null"):
        revive(whole)
    with pytest.raises(NotRedrivableError, match="ce_time"):
        revive(whole, {"x": "", "y": ""})
    mended = revive(whole, {"x": "", "y": "mended", "ce_time": "2026-01-01T00:00:00Z"})
    assert dict(mended.headers)["y"] == b"mended"
    assert "x" not in dict(mended.headers)


def test_a_record_published_again_keeps_its_place() -> None:
    assert dict(again(died()).headers)["origin"] == b"raw.events:3:7"
    assert "attempts" not in dict(again(died()).headers)


def test_a_mark_names_the_letter_as_it_was_seen() -> None:
    made = mark("acme", deterministic_id("letter", "x"), (2, 9), "discarded", "a" * 300)
    record = encoded_mark(made, "/cli")
    assert LetterMark.model_validate_json(record.value or b"") == made
    assert (record.key, len(made.by)) == (f"acme/{made.letter_id}".encode(), 200)
    assert Envelope.from_headers(record.headers).schema == "letter.mark/1"


def test_content_is_text_where_it_can_be() -> None:
    text = "ü" * SHOWN_BYTES
    shown = content_of(letter(died(value=b"x" + text.encode())), full=False)
    assert (shown["encoding"], shown["cut"], shown["value"]) == ("text", True, "x" + "ü" * (SHOWN_BYTES // 2 - 1))
    whole = content_of(letter(died(value=text.encode())), full=True)
    assert (whole["value"], whole["cut"], whole["bytes"]) == (text, False, 2 * SHOWN_BYTES)
    nothing = content_of(letter(died(value=None, key=None)), full=True)
    assert (nothing["value"], nothing["key"], nothing["bytes"]) == (None, None, 0)
    binary = content_of(letter(died(headers=[("h", None), ("i", b"\xff")])), full=True)
    assert (binary["encoding"], base64.b64decode(binary["value"])) == ("base64", b"\xff\x00")
    assert binary["headers"] == [{"name": "h", "value": None}, {"name": "i", "value": "/w=="}]
