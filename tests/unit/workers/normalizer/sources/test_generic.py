from typing import Any

import orjson
import pytest

from infra.errors import Permanent
from schemas.dead_letters import Reason
from schemas.documents import DocumentVersion
from schemas.event import MAX_VERSION
from tests.unit.workers.normalizer.arrivals import only, raw, read, relations
from workers.normalizer.sources.draft import NotADocument
from workers.normalizer.version import unrevised


def plain(**fields: Any) -> DocumentVersion:
    return only(read(raw("generic", fields)))


def refusal(body: bytes | dict[str, Any], **more: Any) -> Reason:
    with pytest.raises(Permanent) as caught:
        read(raw("generic", body, **more))
    return caught.value.reason


def test_plain_json() -> None:
    document = plain(
        id=42, title="Sluice", text="Open it last.", url="https://mill.example/42", kind="note", author="Maren",
        authors=[{"name": "Ilja", "email": "ilja@mill.example"}, "Maren"], created_at="2024-05-01T10:00:00Z",
        updated_at="2024-05-02T10:00:00+02:00",
        metadata={"team": "keepers", "n": 3, "deep": {"a": 1}, "tags": ["x", "y"]},
    )  # fmt: skip
    assert document.external_id == "42"
    assert (document.title, document.text, document.kind) == ("Sluice", "Open it last.", "note")
    assert [author.name for author in document.authors] == ["Maren", "Ilja"]
    assert document.metadata == {"team": "keepers", "n": 3, "deep": '{"a":1}', "tags": ("x", "y")}
    assert ("person:generic:ilja@mill.example", "AUTHORED", "this") in relations(document)
    assert document.updated_at is not None
    assert document.updated_at.isoformat() == "2024-05-02T08:00:00+00:00"


@pytest.mark.parametrize("field", ["text", "body", "content", "markdown"])
def test_every_name_of_the_text(field: str) -> None:
    assert plain(id="a", **{field: "words"}).text == "words"


def test_html_is_read_where_it_is_all_there_is() -> None:
    assert plain(id="a", html="<title>T</title><p>words<script>x</script></p>").text == "words"
    assert plain(id="a", html="<title>T</title><p>words</p>").title == "T"
    assert plain(id="a", html="<p>html</p>", text="text").text == "text"


def test_cloud_events_structured() -> None:
    event = {"specversion": "1.0", "id": "e1", "type": "note.written", "source": "/notes", "subject": "note-7",
             "version": 3, "data": {"text": "words", "id": "ignored for the name"}}  # fmt: skip
    document = only(read(raw("generic", event, content_type="application/cloudevents+json")))
    assert document.external_id == "note-7"
    assert document.version == 3
    assert document.metadata["type"] == "note.written"
    told = {**event, "data": "# T\n\nwords"}
    assert only(read(raw("generic", told))).text == "# T\n\nwords"
    page = {**event, "data": "<p>words</p>", "datacontenttype": "text/html"}
    assert only(read(raw("generic", page))).text == "words"
    assert isinstance(read(raw("generic", {**event, "data": None})), NotADocument)
    assert refusal({**event, "data": [1]}) is Reason.SCHEMA_VIOLATION


def test_cloud_events_binary() -> None:
    attributes = {"ce-type": "note.written", "ce-subject": "note-7", "ce-sequence": "12", "ce-id": "e1"}
    document = only(read(raw("generic", {"text": "words"}, attributes=attributes)))
    assert (document.external_id, document.version) == ("note-7", 12)
    text = raw("generic", b"plain words", attributes=attributes, content_type="text/plain; charset=utf-8")
    assert only(read(text)).text == "plain words"
    page = raw("generic", b"<p>words</p>", attributes=attributes, content_type="text/html")
    assert only(read(page)).text == "words"
    assert isinstance(read(raw("generic", b"", attributes=attributes)), NotADocument)


@pytest.mark.parametrize(
    "event",
    [
        {"id": "a", "deleted": True},
        {"id": "a", "operation": "delete"},
        {"type": "note.deleted", "id": "a"},
        {"specversion": "1.0", "id": "e", "type": "note.deleted", "source": "/", "subject": "a"},
    ],
)
def test_deletions(event: dict[str, Any]) -> None:
    document = only(read(raw("generic", event)))
    assert (document.operation, document.external_id, document.text) == ("delete", "a", "")


def test_a_deletion_must_name_its_document() -> None:
    assert refusal({"deleted": True}) is Reason.SCHEMA_VIOLATION


def test_order_of_states() -> None:
    assert plain(id="a", text="x", version=5).version == 5
    assert plain(id="a", text="x", sequence="6").version == 6
    assert only(read(raw("generic", {"id": "a", "text": "x"}), offset=9)).version == unrevised(9)
    dated = plain(id="a", text="x", updated_at="2024-05-01T10:00:00Z")
    deleted = plain(id="a", deleted=True, updated_at="2024-05-01T10:00:01Z")
    recreated = plain(id="a", text="x", updated_at="2024-05-01T10:00:02Z")
    assert dated.version < deleted.version < recreated.version


def test_the_name_where_none_is_given() -> None:
    assert plain(text="x", url="https://a.example/1").external_id == "https://a.example/1"
    assert only(read(raw("generic", {"text": "x"}, delivery="msg_1"))).external_id == "msg_1"


@pytest.mark.parametrize("body", [{}, {"id": "a"}, {"id": "a", "text": "  \n"}, {"id": "a", "text": "\x00\x01"}])
def test_no_text_is_no_document(body: dict[str, Any]) -> None:
    outcome = read(raw("generic", body))
    assert isinstance(outcome, NotADocument)
    assert outcome.detail


@pytest.mark.parametrize("body", [b"", b"{", b"words", b"\xff", b'{"text": "\xff"}', b"NaN"])
def test_broken_json(body: bytes) -> None:
    assert refusal(body) is Reason.INVALID_JSON


@pytest.mark.parametrize(
    "fields",
    [
        {"text": 5}, {"text": ["a"]}, {"title": {}}, {"authors": "Ann"}, {"metadata": []}, {"version": -1},
        {"version": MAX_VERSION + 1}, {"version": "new"}, {"version": 1.5}, {"updated_at": "yesterday"},
        {"updated_at": "2024-05-01T10:00:00"}, {"operation": "drop table"}, {"id": "x" * 3_000},
        {"id": "a\x1fb"}, {"id": "a\x00b"},
    ],
)  # fmt: skip
def test_wrong_types(fields: dict[str, Any]) -> None:
    assert refusal({"id": "a", "text": "words", **fields}) is Reason.SCHEMA_VIOLATION


def test_a_refusal_quotes_nothing_of_the_payload() -> None:
    with pytest.raises(Permanent) as caught:
        read(raw("generic", orjson.dumps({"id": "a", "text": "words", "version": "s3cret-canary"})))
    assert "canary" not in caught.value.detail


def test_foreign_addresses_are_not_kept() -> None:
    document = plain(id="a", text="see javascript:alert(1)", url="file:///etc/passwd")
    assert document.url == ""
    assert document.links == ()
