from pathlib import Path

import pytest

from infra.errors import Permanent
from infra.kafka.codec import DATAREF, DATASIZE, Encoded, body_bytes, decode, encode, new_envelope
from infra.objects.store import ObjectStore
from schemas.dead_letters import Reason
from schemas.envelope import Origin
from schemas.event import Event
from tests.events import document, raw_event
from tests.records import RawRecord
from topics.catalogue import DOCUMENTS, RAW_EVENTS, Topic


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore.open(tmp_path.as_uri())


async def encoded(topic: Topic[Event], body: Event, objects: ObjectStore, **options: bool) -> Encoded:
    envelope = new_envelope(body, id=body.event_id, source="src_a", origin=options.pop("origin", None))  # type: ignore[attr-defined, arg-type]
    return await encode(topic, body, envelope, objects, **options)  # type: ignore[arg-type]


def record(sent: Encoded, **fields: object) -> RawRecord:
    return RawRecord(**{"topic": sent.topic, "key": sent.key, "value": sent.value, "headers": sent.headers, **fields})  # type: ignore[arg-type]


async def test_what_is_sent_is_what_is_read(objects: ObjectStore) -> None:
    body = raw_event(body=b"\xff\x00 any bytes", attributes={"a": "é"})
    delivery = await decode(
        record(await encoded(RAW_EVENTS, body, objects), partition=3, offset=9), RAW_EVENTS, objects
    )
    assert delivery is not None
    assert delivery.body == body
    assert delivery.origin == Origin("raw.events", 3, 9)
    assert delivery.key == "acme/src_a/"
    assert delivery.envelope.workspace == "acme"


async def test_a_redriven_record_keeps_its_first_coordinates(objects: ObjectStore) -> None:
    sent = await encoded(RAW_EVENTS, raw_event(), objects, origin=Origin("raw.events", 1, 7))  # type: ignore[arg-type]
    delivery = await decode(record(sent, partition=3, offset=9), RAW_EVENTS, objects)
    assert delivery is not None
    assert delivery.origin == Origin("raw.events", 1, 7)


async def test_a_large_body_goes_by_reference_and_comes_back_whole(objects: ObjectStore) -> None:
    body = raw_event(body=bytes(range(256)) * 8_000)
    sent = await encoded(RAW_EVENTS, body, objects)
    assert sent.value == b""
    assert DATAREF in dict(sent.headers)
    assert body_bytes(record(sent)) > 2_000_000
    delivery = await decode(record(sent), RAW_EVENTS, objects)
    assert delivery is not None
    assert delivery.body == body


@pytest.mark.parametrize("told", [b"", b"-5", b"x", b"9" * 5_000, None, "²".encode()])
def test_a_told_size_that_is_none_counts_as_nothing(told: bytes | None) -> None:
    assert body_bytes(RawRecord(value=b"", headers=[(DATASIZE, told)])) == 0
    assert body_bytes(RawRecord(value=b"abc", headers=[(DATASIZE, told)])) == 3


async def test_a_lost_or_changed_object_is_a_dead_letter_not_a_crash(objects: ObjectStore, tmp_path: Path) -> None:
    sent = await encoded(RAW_EVENTS, raw_event(body=b"x" * 2_000_000), objects)
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    path.write_bytes(b"something else")
    assert (await refusal(record(sent), objects)).reason is Reason.BODY_MISSING
    path.unlink()
    assert (await refusal(record(sent), objects)).reason is Reason.BODY_MISSING


async def refusal(broken: RawRecord, objects: ObjectStore) -> Permanent:
    with pytest.raises(Permanent) as refused:
        await decode(broken, RAW_EVENTS, objects)
    return refused.value


def replaced(sent: Encoded, name: str, value: bytes | None) -> list[tuple[str, bytes | None]]:
    return [(header, value if header == name else old) for header, old in sent.headers]


@pytest.mark.parametrize(
    ("header", "value", "reason"),
    [
        ("workspace", None, Reason.INVALID_HEADERS),
        ("workspace", b"\xff\xfe", Reason.INVALID_HEADERS),
        ("workspace", b"../etc", Reason.INVALID_HEADERS),
        ("workspace", b"other", Reason.WORKSPACE_MISMATCH),
        ("ce_id", b"not-a-uuid", Reason.INVALID_HEADERS),
        ("ce_time", b"yesterday", Reason.INVALID_HEADERS),
        ("ce_time", b"2026-01-01T00:00:00", Reason.INVALID_HEADERS),
        ("schema", b"raw.event/2", Reason.SCHEMA_UNSUPPORTED),
        ("schema", b"raw.event/x", Reason.INVALID_HEADERS),
        ("schema", b"something/1", Reason.SCHEMA_UNKNOWN),
    ],
)
async def test_a_bad_header_has_its_reason(
    header: str, value: bytes | None, reason: Reason, objects: ObjectStore
) -> None:
    sent = await encoded(RAW_EVENTS, raw_event(), objects)
    assert (await refusal(record(sent, headers=replaced(sent, header, value)), objects)).reason is reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", Reason.INVALID_JSON),
        (b"\xff\xff", Reason.INVALID_JSON),
        (b"[]", Reason.SCHEMA_VIOLATION),
        (b'{"workspace": "acme"}', Reason.SCHEMA_VIOLATION),
        (None, Reason.NULL_BODY),
    ],
)
async def test_a_bad_body_has_its_reason(value: bytes | None, reason: Reason, objects: ObjectStore) -> None:
    sent = await encoded(RAW_EVENTS, raw_event(), objects)
    assert (await refusal(record(sent, value=value), objects)).reason is reason


async def test_the_reason_never_quotes_the_body(objects: ObjectStore) -> None:
    sent = await encoded(RAW_EVENTS, raw_event(), objects)
    body = sent.value.replace(b'"connector":"generic"', b'"connector":{"password":"hunter2"}')  # type: ignore[union-attr]
    refused = await refusal(record(sent, value=body), objects)
    assert refused.reason is Reason.SCHEMA_VIOLATION
    assert "hunter2" not in refused.detail


async def test_a_tombstone_of_a_compacted_topic_is_no_event(objects: ObjectStore) -> None:
    sent = await encoded(DOCUMENTS, document(), objects, tombstone=True)
    assert sent.value is None
    assert await decode(record(sent), DOCUMENTS, objects) is None


async def test_a_topic_refuses_to_carry_another_schema(objects: ObjectStore) -> None:
    with pytest.raises(TypeError, match="documents carries DocumentVersion"):
        await encoded(DOCUMENTS, raw_event(), objects)


async def test_a_body_is_written_as_pydantic_writes_it(objects: ObjectStore) -> None:
    for topic, body in (
        (RAW_EVENTS, raw_event(body=b"\xff", attributes={"a": "é"})),
        (DOCUMENTS, document("Ein „Text“")),
    ):
        sent = await encoded(topic, body, objects)  # type: ignore[arg-type]
        assert sent.value == body.model_dump_json().encode()


async def test_an_older_schema_version_is_read_and_other_spellings_of_a_version_are_no_surprise(
    objects: ObjectStore,
) -> None:
    sent = await encoded(RAW_EVENTS, raw_event(), objects)
    for _ in range(2):
        for version in (b"raw.event/0", b"raw.event/1", b"raw.event/01"):
            assert await decode(record(sent, headers=replaced(sent, "schema", version)), RAW_EVENTS, objects)
        for version in (b"raw.event/2", b"raw.event/-1", b"raw.event/", b"raw.event", b"raw.event/1/1"):
            await refusal(record(sent, headers=replaced(sent, "schema", version)), objects)
