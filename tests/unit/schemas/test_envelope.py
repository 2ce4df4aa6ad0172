"""Headers of an event: what is written is read again, and what is broken is named."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given, settings
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


def parsed_by(read: Callable[[str], object], told: str) -> Callable[[str], str]:
    """Return the rule that `read` takes a header's text; `told` is what is said where it does not."""

    def rule(text: str) -> str:
        try:
            read(text)
        except ValueError:
            return f"{told}: {text[:80]!r}"
        return ""

    return rule


def matching(pattern: str, told: str) -> Callable[[str], str]:
    return lambda text: "" if re.fullmatch(pattern, text, re.DOTALL) else told


def zoned(text: str) -> str:
    fault = parsed_by(datetime.fromisoformat, "header ce_time is not RFC 3339")(text)
    return fault or ("" if datetime.fromisoformat(text).tzinfo else f"header ce_time has no zone: {text!r}")


RULES: list[tuple[str, bool, Callable[[str], str]]] = [
    ("workspace", True, matching("[a-z0-9][a-z0-9_-]{0,62}", "header workspace is not a workspace name")),
    ("ce_id", True, parsed_by(UUID, "header ce_id is not a UUID")),
    ("ce_type", True, matching(".+", "")),
    ("ce_source", True, matching(".+", "")),
    ("ce_time", True, zoned),
    ("schema", True, matching(".+", "")),
    ("cause", False, parsed_by(UUID, "header cause is not a UUID")),
    ("origin", False, matching("[^:]+:[0-9]+:[0-9]+", "header origin is not topic:partition:offset")),
]
"""Name, whether it is required, and what is wrong with its text: in the order in which faults are named."""


def first_fault(headers: Headers) -> str:
    """Look at headers one after the other, rule after rule, without any haste."""
    texts: dict[str, str] = {}
    for name, value in headers:
        if value is None:
            return f"header {name[:80]!r} is null"
        try:
            texts[name] = value.decode()
        except UnicodeDecodeError:
            return f"header {name[:80]!r} is not UTF-8"
    for name, required, rule in RULES:
        if texts.get(name):
            if fault := rule(texts[name]):
                return fault
        elif required:
            return f"header {name} is missing"
    return ""


OFFSET = st.integers(0, 2**63 - 1)
VALUES: dict[str, st.SearchStrategy[bytes | None]] = {
    "ce_id": st.uuids().map(lambda made: str(made).encode()),
    "ce_type": st.just(b"millrace.raw.event"),
    "ce_source": st.text(max_size=5).map(str.encode),
    "ce_time": st.datetimes(timezones=st.one_of(st.none(), st.timezones())).map(lambda at: at.isoformat().encode()),
    "workspace": st.from_regex(r"[a-z0-9_A]{0,3}", fullmatch=True).map(str.encode),
    "schema": st.sampled_from([b"raw.event/1", b"x", b""]),
    "ce_subject": st.text(max_size=5).map(str.encode),
    "cause": st.one_of(st.just(b""), st.uuids().map(lambda made: made.hex.encode())),
    "origin": st.sampled_from([b"", b"a:1:2", b"a:1", b":1:2", b"a:b:2", b"a:1:2:3"]),
    "traceparent": st.sampled_from([b"", b"00-1-2-01"]),
    "tracestate": st.sampled_from([b"", b"a=b"]),
    "x-other": st.binary(max_size=3),
}
ODD: st.SearchStrategy[bytes | None] = st.one_of(st.none(), st.binary(max_size=4), st.text(max_size=40).map(str.encode))


@st.composite
def nearly_whole(draw: st.DrawFn) -> Headers:
    """Return headers most of which are sound: each may be absent, come twice or hold anything at all."""
    pairs: Headers = []
    for name, sound in VALUES.items():
        match draw(st.integers(0, 24)):
            case 0:
                pass
            case 1:
                pairs += [(name, draw(ODD))]
            case 2:
                pairs += [(name, draw(sound)), (name, draw(sound))]
            case _:
                pairs += [(name, draw(sound))]
    return draw(st.permutations(pairs))


@given(nearly_whole())
@settings(max_examples=500)
def test_every_header_is_held_to_its_rule_and_the_first_fault_is_named(headers: Headers) -> None:
    expected = first_fault(headers)
    if expected:
        with pytest.raises(EnvelopeError, match=re.escape(expected)):
            Envelope.from_headers(headers)
        return
    read = Envelope.from_headers(headers)
    texts = {name: (value or b"").decode() for name, value in headers}
    assert (str(read.id), read.type, read.source) == (str(UUID(texts["ce_id"])), texts["ce_type"], texts["ce_source"])
    assert (read.workspace, read.schema, read.subject) == (
        texts["workspace"],
        texts["schema"],
        texts.get("ce_subject", ""),
    )
    assert read.time.isoformat() == datetime.fromisoformat(texts["ce_time"]).isoformat()
    assert read.cause == (UUID(texts["cause"]) if texts.get("cause") else None)
    assert str(read.origin or "") == texts.get("origin", "")
    assert read.trace == {name: text for name, text in texts.items() if name in ("traceparent", "tracestate")}


@given(
    st.builds(
        Envelope,
        id=st.uuids(),
        type=st.text(min_size=1),
        source=st.text(min_size=1),
        time=st.datetimes(timezones=st.one_of(st.just(UTC), st.timezones())),
        workspace=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True),
        schema=st.text(min_size=1),
        subject=st.text(),
        cause=st.none() | st.uuids(),
        origin=st.none() | st.builds(Origin, st.from_regex("[a-z.]+", fullmatch=True), OFFSET, OFFSET),
        trace=st.fixed_dictionaries(
            {}, optional={"traceparent": st.text(min_size=1), "tracestate": st.text(min_size=1)}
        ),
    )
)
def test_any_envelope_is_read_as_it_was_written(envelope: Envelope) -> None:
    read = Envelope.from_headers(envelope.headers())
    # Python calls no two times of different zones equal where one of them stands at a change of the clocks (PEP 495).
    assert read.time.timestamp() == envelope.time.timestamp()
    assert read._replace(time=envelope.time) == envelope
    assert read.time.utcoffset() == envelope.time.utcoffset()


def test_equal_times_of_different_zones_are_written_each_as_it_is() -> None:
    utc = FULL._replace(time=datetime(2026, 1, 2, tzinfo=UTC))
    east = FULL._replace(time=datetime(2026, 1, 2, 1, tzinfo=timezone(timedelta(hours=1))))
    assert utc.time == east.time
    assert dict(utc.headers())["ce_time"] == b"2026-01-02T00:00:00+00:00"
    assert dict(east.headers())["ce_time"] == b"2026-01-02T01:00:00+01:00"
