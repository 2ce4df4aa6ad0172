"""What an event body accepts."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
from pydantic import ValidationError

from schemas.dead_letters import Header
from schemas.documents import Chunk, DocumentVersion
from schemas.event import MAX_VERSION, now
from schemas.filters import SearchFilters
from schemas.raw import RawEvent
from tests.events import AT, document, raw_event


@pytest.mark.parametrize("workspace", ["a", "team-1", "a_b", "9" * 63])
def test_a_workspace_has_a_plain_name(workspace: str) -> None:
    assert raw_event(workspace=workspace).workspace == workspace


@pytest.mark.parametrize("workspace", ["", "A", "-a", "a/b", "a b", "a" * 64, "ä", "a\n"])
def test_another_workspace_name_is_refused(workspace: str) -> None:
    with pytest.raises(ValidationError, match="workspace"):
        raw_event(workspace=workspace)


@pytest.mark.parametrize("version", [0, -1, MAX_VERSION + 1])
def test_a_version_is_a_whole_number_that_json_can_carry(version: int) -> None:
    with pytest.raises(ValidationError, match="version"):
        document(version=version)


def test_any_bytes_survive() -> None:
    body = bytes(range(256))
    event = raw_event(body=body)
    assert RawEvent.model_validate_json(event.model_dump_json()).body == body
    header = Header(name="x", value=body)
    assert Header.model_validate_json(header.model_dump_json()) == header


def test_times_have_a_zone_and_are_kept_in_utc() -> None:
    zoned = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert raw_event(received_at=zoned).received_at == datetime(2025, 12, 31, 23, tzinfo=UTC)
    with pytest.raises(ValidationError, match="received_at"):
        raw_event(received_at=datetime(2026, 1, 1))  # noqa: DTZ001 - that it has no zone is the point
    assert now().tzinfo is UTC


def test_a_field_of_a_newer_producer_is_ignored() -> None:
    body = raw_event().model_dump(mode="json") | {"newer": 1}
    assert RawEvent.model_validate(body) == raw_event()


def test_an_event_cannot_be_changed() -> None:
    event = raw_event()
    with pytest.raises(ValidationError, match="frozen"):
        event.source = "other"


def test_a_chunk_lies_in_its_text() -> None:
    made = document("Ein Mühlrad. Noch eins.", chunks=(Chunk(ordinal=0, start=0, end=12),))
    assert made.text_of(made.chunks[0]) == "Ein Mühlrad."


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ((Chunk(ordinal=1, start=0, end=1),), "chunk 0 has ordinal 1"),
        ((Chunk(ordinal=0, start=0, end=4),), "outside the text of 3"),
        ((Chunk(ordinal=0, start=2, end=2),), "outside the text of 3"),
    ],
)
def test_a_chunk_elsewhere_is_refused(chunks: tuple[Chunk, ...], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        document("abc", chunks=chunks)


def test_a_deletion_has_no_text() -> None:
    with pytest.raises(ValidationError, match="a deletion has no text"):
        DocumentVersion(
            workspace="acme",
            document_id=uuid4(),
            event_id=uuid4(),
            source="src_a",
            connector="files",
            external_id="1",
            operation="delete",
            version=1,
            text="still here",
            received_at=AT,
        )


def test_filters_are_empty_by_default() -> None:
    assert SearchFilters().model_dump(exclude_defaults=True) == {}
