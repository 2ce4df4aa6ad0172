"""What an uploaded document becomes."""

import hashlib
import json
from typing import Any

import pytest

from gateway.admitting import Admission
from gateway.recent import Recent
from infra.postgres.sources import Source
from infra.redis.rates import Rate
from schemas.ids import document_id, event_id
from tests.unit.gateway.conftest import Door, assert_problem, chunks, source


async def put(door: Door, **body: Any) -> Any:
    return await door.client.post("/v1/documents", json={"source": "src_files", **body})


async def test_a_text_is_an_event_of_its_source(door: Door) -> None:
    response = await put(
        door, text="# Grüße", external_id="notes/1", title="T", url="http://x/", metadata={"team": "a", "n": 1}
    )
    assert response.status_code == 202
    (event,) = door.log.bodies
    assert event.body == "# Grüße".encode()
    assert (event.connector, event.operation, event.subject) == ("files", "put", "notes/1")
    assert event.content_type == "text/markdown; charset=utf-8"
    assert event.attributes == {"title": "T", "url": "http://x/", "metadata": '{"team":"a","n":1}'}
    assert response.json() == {
        "event_id": str(event.event_id),
        "document_id": str(document_id("acme", "src_files", "notes/1")),
        "source": "src_files",
    }


async def test_a_file_is_taken_byte_for_byte(door: Door) -> None:
    content = bytes(range(256)) * 8
    response = await door.client.post(
        "/v1/documents",
        files={"file": ("reports/ä.pdf", content, "application/pdf")},
        data={"source": "src_files", "metadata": '{"sha256": "x"}', "title": ""},
    )
    assert response.status_code == 202
    (event,) = door.log.bodies
    assert event.body == content
    assert (event.subject, event.content_type) == ("reports/ä.pdf", "application/pdf")
    assert event.attributes == {"filename": "reports/ä.pdf", "metadata": '{"sha256":"x"}'}


async def test_a_files_type_is_guessed_from_its_name_where_the_sender_does_not_know(door: Door) -> None:
    files = {"file": ("a.html", b"<p>", "application/octet-stream")}
    await door.client.post("/v1/documents", files=files, data={"source": "src_files", "external_id": "e"})
    assert (door.log.bodies[0].content_type, door.log.bodies[0].subject) == ("text/html", "e")


async def test_a_nameless_document_is_named_by_its_content(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(door, text="same")
    monkeypatch.setattr("gateway.uploads.THREADED_BYTES", 1)
    await put(door, text="same")
    first, second = door.log.bodies
    assert first.subject == second.subject == hashlib.sha256(b"same").hexdigest()


async def test_each_upload_is_a_new_version_unless_an_idempotency_key_says_otherwise(door: Door) -> None:
    # A, then B, then A again: the third must not pass for a redelivery of the first.
    ids = [(await put(door, text=text, external_id="e")).json()["event_id"] for text in ("A", "B", "A")]
    assert len(set(ids)) == 3
    keyed = [
        await door.client.post(
            "/v1/documents", json={"text": "A", "source": "src_files"}, headers={"idempotency-key": "k-1"}
        )
        for _ in range(2)
    ]
    assert {each.json()["event_id"] for each in keyed} == {str(event_id("acme", "src_files", "k-1"))}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/text"),
        ({"text": ""}, "/text"),
        ({"text": "a", "external_id": "x" * 1001}, "/external_id"),
        ({"text": "a", "external_id": "a\x1fb"}, "/external_id"),
        ({"text": "a", "metadata": []}, "/metadata"),
        ({"text": "a", "nonsense": 1}, "/nonsense"),
    ],
)
async def test_faulty_fields_are_named(door: Door, body: dict[str, Any], pointer: str) -> None:
    response = await door.client.post("/v1/documents", json=body)
    assert assert_problem(response, 422, "invalid_request")["errors"][0]["pointer"] == pointer
    assert door.log.published == []


async def test_a_body_that_is_not_json(door: Door) -> None:
    headers = {"content-type": "application/json; charset=utf-8"}
    assert_problem(await door.client.post("/v1/documents", content=b"{", headers=headers), 400, "invalid_json")


async def test_metadata_is_bounded(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.uploads.MAX_METADATA_BYTES", 10)
    response = await put(door, text="a", metadata={"key": "longer than ten"})
    assert assert_problem(response, 422, "invalid_request")["errors"][0]["pointer"] == "/metadata"


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/x-www-form-urlencoded"])
async def test_other_content_types_are_refused(door: Door, content_type: str) -> None:
    response = await door.client.post("/v1/documents", content=b"a=b", headers={"content-type": content_type})
    assert_problem(response, 415, "unsupported_media_type")


async def test_a_form_needs_its_file(door: Door) -> None:
    response = await door.client.post("/v1/documents", files={"other": ("a", b"")})
    assert assert_problem(response, 422, "invalid_request")["errors"][0]["pointer"] == "/file"


async def test_a_forms_metadata_is_json(door: Door) -> None:
    response = await door.client.post("/v1/documents", files={"file": ("a", b"x")}, data={"metadata": "{"})
    assert assert_problem(response, 422, "invalid_request")["errors"][0]["pointer"] == "/metadata"


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"no boundary here"),
        ("multipart/form-data; boundary=b", b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"'),
    ],
)
async def test_a_broken_form_is_a_problem(door: Door, content_type: str, content: bytes) -> None:
    response = await door.client.post("/v1/documents", content=content, headers={"content-type": content_type})
    assert response.status_code in {400, 422}
    assert response.headers["content-type"] == "application/problem+json"
    assert door.log.published == []


async def test_an_upload_over_the_limit_is_refused_with_the_limit(door: Door) -> None:
    declared = await put(door, text="x" * 8192)
    assert assert_problem(declared, 413, "payload_too_large")["limit_bytes"] == 8192
    head = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
    chunked = await door.client.post(
        "/v1/documents",
        content=chunks(head, *[b"x" * 1024] * 9),
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    assert assert_problem(chunked, 413, "payload_too_large")["limit_bytes"] == 8192
    assert door.log.published == []


@pytest.mark.parametrize(
    ("source_id", "status", "code"),
    [
        ("src_unknown", 404, "source_not_found"),
        ("src_github", 404, "source_not_found"),
        ("src_foreign", 404, "source_not_found"),
        ("src_files_off", 403, "source_disabled"),
    ],
)
async def test_where_a_document_cannot_go(door: Door, source_id: str, status: int, code: str) -> None:
    response = await door.client.post("/v1/documents", json={"text": "a", "source": source_id})
    assert_problem(response, status, code)
    assert door.log.published == []


async def test_a_document_without_a_source_goes_to_uploads(door: Door) -> None:
    async def find(workspace: str) -> Source | None:
        return source("src_uploads", "files", workspace=workspace)

    door.connections.upload_sources = Recent(find, 60)
    response = await door.client.post("/v1/documents", json={"text": "a"})
    assert response.json()["source"] == "src_uploads"


async def test_without_the_broker_nothing_is_accepted(door: Door) -> None:
    door.log.down = True
    response = await put(door, text="a")
    assert_problem(response, 503, "broker_unavailable")
    assert response.headers["retry-after"]


async def test_json_that_is_no_object(door: Door) -> None:
    response = await door.client.post(
        "/v1/documents", content=json.dumps([1]), headers={"content-type": "application/json"}
    )
    assert_problem(response, 422, "invalid_request")


async def test_authors_and_times_are_told_on(door: Door) -> None:
    await put(
        door,
        text="x",
        author="Ilse Bauer",
        authors=[{"name": "Bruno", "handle": "bruno@example.com"}, "Ilse Bauer"],
        created_at="2031-01-05",
        updated_at="2031-01-05T10:00:00+02:00",
    )
    (event,) = door.log.bodies
    assert json.loads(event.attributes["authors"]) == [
        {"name": "Ilse Bauer"},
        {"name": "Bruno", "handle": "bruno@example.com"},
    ]
    assert event.attributes["created_at"] == "2031-01-05T00:00:00+00:00"
    assert event.attributes["updated_at"] == "2031-01-05T08:00:00+00:00"


@pytest.mark.parametrize("authors", ['["Ilse", {"name": "Bruno"}]', ["Ilse", "Bruno"]])
async def test_a_form_states_authors_as_a_list_or_again_for_each(door: Door, authors: Any) -> None:
    fields = {"source": "src_files", "authors": authors, "updated_at": "2031-01-05"}
    response = await door.client.post("/v1/documents", files={"file": ("a.md", b"x")}, data=fields)
    assert response.status_code == 202
    assert json.loads(door.log.bodies[0].attributes["authors"]) == [{"name": "Ilse"}, {"name": "Bruno"}]


@pytest.mark.parametrize(
    ("field", "value", "pointer"),
    [
        ("authors", [""], "/authors/0"),
        ("authors", [{"email": "x"}], "/authors/0/email"),
        ("authors", ["x" * 301], "/authors/0/name"),
        ("author", 7, "/author"),
        ("authors", ["x"] * 101, "/authors"),
        ("created_at", "yesterday", "/created_at"),
        ("created_at", 1_700_000_000, "/created_at"),
        ("updated_at", "2031-02-30", "/updated_at"),
    ],
)
async def test_what_no_author_and_no_time_is_is_refused_in_words(
    door: Door, field: str, value: Any, pointer: str
) -> None:
    response = await put(door, text="x", **{field: value})
    assert_problem(response, 422, "invalid_request")
    assert [fault["pointer"] for fault in response.json()["errors"]] == [pointer]
    assert not door.log.bodies


async def batch(door: Door, *documents: Any, **headers: str) -> Any:
    return await door.client.post("/v1/documents/batch", json={"documents": documents}, headers=headers)


async def test_each_document_of_a_batch_is_an_event_of_its_own(door: Door) -> None:
    texts = [{"source": "src_files", "text": f"Text {n}", "external_id": f"n/{n}"} for n in range(3)]
    response = await batch(door, *texts)
    assert response.status_code == 202
    body = response.json()
    assert (body["accepted"], body["refused"]) == (3, 0)
    assert [item["index"] for item in body["items"]] == [0, 1, 2]
    by_id = {str(event.event_id): event.body for event in door.log.bodies}
    assert [by_id[item["event_id"]] for item in body["items"]] == [b"Text 0", b"Text 1", b"Text 2"]
    assert body["items"][1]["document_id"] == str(document_id("acme", "src_files", "n/1"))


async def test_what_is_wrong_with_one_document_of_a_batch_keeps_no_other_out(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.uploads.MAX_METADATA_BYTES", 100)
    response = await batch(
        door,
        {"source": "src_files", "text": "good"},
        {"source": "src_files", "text": ""},
        {"source": "src_nowhere", "text": "lost"},
        "no object",
        {"source": "src_files", "text": "x", "metadata": {"a": "x" * 200}},
        {"source": "src_files", "text": "x", "unknown": 1},
    )
    assert response.status_code == 207
    items = response.json()["items"]
    assert [item["status"] for item in items] == ["accepted", *["refused"] * 5]
    assert [item["problem"]["code"] for item in items[1:]] == [
        "invalid_request",
        "source_not_found",
        "invalid_request",
        "invalid_request",
        "invalid_request",
    ]
    assert items[1]["problem"]["errors"][0]["pointer"] == "/documents/1/text"
    assert [event.body for event in door.log.bodies] == [b"good"]


async def test_a_batch_may_come_as_lines(door: Door) -> None:
    lines = b'{"source": "src_files", "text": "one"}\n\nnot json\n{"source": "src_files", "text": "two"}'
    headers = {"content-type": "application/x-ndjson"}
    response = await door.client.post("/v1/documents/batch", content=lines, headers=headers)
    assert response.status_code == 207
    items = response.json()["items"]
    assert [item["status"] for item in items] == ["accepted", "refused", "accepted"]
    assert items[1]["problem"]["code"] == "invalid_json"


async def test_states_of_one_document_in_a_batch_keep_their_order(door: Door) -> None:
    await batch(door, *({"source": "src_files", "text": f"{n}", "external_id": "same"} for n in range(20)))
    assert [event.body for event in door.log.bodies] == [f"{n}".encode() for n in range(20)]


async def test_a_batch_that_comes_again_under_its_key_is_the_same_events(door: Door) -> None:
    one = {"source": "src_files", "text": "a"}
    for _ in range(2):
        await batch(door, one, {**one, "idempotency_key": "mine"}, **{"Idempotency-Key": "k"})
    ids = [event.event_id for event in door.log.bodies]
    assert set(ids) == {event_id("acme", "src_files", "k/0"), event_id("acme", "src_files", "mine")}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[]", "invalid_request"),
        (b"{", "invalid_json"),
        (b"7", "invalid_request"),
        (b'{"documents": {}}', "invalid_request"),
    ],
)
async def test_a_batch_that_is_none_is_refused(door: Door, body: bytes, code: str) -> None:
    response = await door.client.post("/v1/documents/batch", content=body, headers={"content-type": "application/json"})
    assert response.json()["code"] == code


async def test_a_batch_is_bounded_and_counted_by_its_documents(door: Door) -> None:
    response = await batch(door, *({} for _ in range(501)))
    assert_problem(response, 422, "invalid_request")
    counted: list[int] = []
    admit = door.connections.admission.admit

    async def counting(workspace: str, count: int = 1) -> None:
        counted.append(count)
        await admit(workspace, count)

    door.connections.admission.admit = counting  # type: ignore[method-assign]
    await batch(door, *({"source": "src_files", "text": "x"} for _ in range(7)))
    assert sum(counted) == 7


async def test_a_batch_that_can_never_be_let_in_is_not_told_to_come_again(door: Door) -> None:
    door.connections.admission = Admission(Rate(2, 5))
    response = await batch(door, *({"source": "src_files", "text": f"{n}"} for n in range(7)))
    assert_problem(response, 422, "invalid_request")
    assert response.json()["errors"] == [
        {"pointer": "/documents", "detail": "6 documents are taken at once here, not 7"}
    ]
    assert door.log.bodies == []


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        ({"external_id": "a", "idempotency_key": "k"}, {"external_id": "b", "idempotency_key": "k"}, True),
        (
            {"external_id": "a", "text": "One.", "idempotency_key": "k"},
            {"external_id": "a", "idempotency_key": "k"},
            True,
        ),
        ({"external_id": "a", "idempotency_key": "request/1"}, {"external_id": "b"}, True),
        ({"external_id": "a", "idempotency_key": "k"}, {"external_id": "a", "idempotency_key": "k"}, False),
        ({"external_id": "a", "idempotency_key": "k"}, {"external_id": "b", "idempotency_key": "l"}, False),
    ],
)
async def test_two_documents_of_a_batch_are_not_accepted_as_one_event(
    door: Door, first: Any, second: Any, refused: bool
) -> None:
    """The second would have no effect: it is the first one's event, delivered again."""
    base = {"source": "src_files", "text": "Two."}
    response = await batch(door, base | first, base | second, **{"Idempotency-Key": "request"})
    body = response.json()
    assert (response.status_code, body["accepted"], len(door.log.bodies)) == ((207, 1, 1) if refused else (202, 2, 2))
    if refused:
        (fault,) = body["items"][1]["problem"]["errors"]
        assert fault["pointer"] == "/documents/1/idempotency_key"
