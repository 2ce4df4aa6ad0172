"""Headers of an event: what is written is read again, and what is broken is named."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.envelope import Envelope, EnvelopeError, Origin

FULL = Envelope(
    id=UUID(int=1),
    type="millrace.raw.event",
    source="/gateway",
    time=datetime(2026, 1, 2, tzinfo=UTC),
    workspace="acme",
    schema="raw.event/1",
    subject="a document – über",
    cause=UUID(int=2),
    origin=Origin("raw.events", 2, 1041),
    trace={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b"},
)
Headers = list[tuple[str, bytes | None]]


def changed(**headers: bytes | None) -> Headers:
    """Return the headers of FULL with some replaced."""
    return [(name, headers.get(name, value)) for name, value in FULL.headers()]


def without(name: str) -> Headers:
    return [(each, value) for each, value in FULL.headers() if each != name]


def test_what_is_written_is_read() -> None:
    assert Envelope.from_headers(FULL.headers()) == FULL


def test_headers_of_others_are_ignored() -> None:
    assert Envelope.from_headers([*FULL.headers(), ("x-other", b"1")]) == FULL


def test_the_last_of_a_repeated_header_counts() -> None:
    assert Envelope.from_headers([*FULL.headers(), ("workspace", b"other")]).workspace == "other"


@pytest.mark.parametrize("name", ["ce_id", "ce_type", "ce_source", "ce_time", "workspace", "schema"])
def test_a_missing_header_is_named(name: str) -> None:
    with pytest.raises(EnvelopeError, match=name):
        Envelope.from_headers(without(name))


@pytest.mark.parametrize("name", ["ce_subject", "cause", "origin", "traceparent", "tracestate"])
def test_the_other_headers_may_be_absent(name: str) -> None:
    assert Envelope.from_headers(without(name)).id == FULL.id


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        (changed(ce_id=None), "header 'ce_id' is null"),
        (changed(ce_source=b"\xff"), "header 'ce_source' is not UTF-8"),
        (changed(ce_id=b"1"), "header ce_id is not a UUID: '1'"),
        (changed(cause=b"x"), "header cause is not a UUID"),
        (changed(ce_time=b"yesterday"), "header ce_time is not RFC 3339"),
        (changed(ce_time=b"2026-01-02T03:04:05"), "header ce_time has no zone"),
        (changed(workspace=b"../etc"), "header workspace is not a workspace name"),
        (changed(workspace=b"acme\n"), "header workspace is not a workspace name"),
        (changed(workspace=b""), "header workspace is missing"),
        (changed(origin=b"raw.events:1"), "header origin is not topic:partition:offset"),
        (changed(origin="raw.events:1:²".encode()), "header origin is not topic:partition:offset"),
    ],
)
def test_a_broken_header_is_named(headers: Headers, message: str) -> None:
    with pytest.raises(EnvelopeError, match=message):
        Envelope.from_headers(headers)


@given(st.lists(st.tuples(st.text(max_size=20), st.one_of(st.none(), st.binary(max_size=40))), max_size=12))
def test_headers_made_at_random_are_an_envelope_error(headers: Headers) -> None:
    with pytest.raises(EnvelopeError, match="header"):
        Envelope.from_headers(headers)


@given(st.from_regex(r"[a-z.]{1,20}", fullmatch=True), st.integers(0, 2**31), st.integers(0, 2**63 - 1))
def test_an_origin_is_read_as_it_was_written(topic: str, partition: int, offset: int) -> None:
    assert Origin.parse(str(Origin(topic, partition, offset))) == Origin(topic, partition, offset)
