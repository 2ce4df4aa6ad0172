"""`millrace ingest`: what is sent, what is passed over, what is reported."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.unit.infra.cli.conftest import Door, Millrace

SOURCE = {"source_id": "src_1", "name": "docs", "connector": "files"}
PAGE: dict[str, Any] = {"documents": [], "next": None}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.md").write_text("# A\n")
    (folder / "sub" / "b.md").write_text("# B\n")
    return folder


def accepting(door: Door, *states: str, known: list[dict[str, Any]] | None = None) -> None:
    """Let the door take uploads, and answer the events' states one after the other."""
    door.answer("POST", "/v1/sources", (201, SOURCE))
    door.answer("GET", "/v1/documents", (200, {"documents": known or [], "next": None}))
    door.answer("POST", "/v1/documents", *[(202, {"event_id": f"e{n}", "document_id": f"d{n}"}) for n in range(9)])
    for n in range(9):
        door.answer("GET", f"/v1/events/e{n}", *[(200, {"state": state}) for state in states])


async def test_a_folder_becomes_searchable(millrace: Millrace, door: Door, docs: Path) -> None:
    accepting(door, "accepted", "normalised", "searchable")
    result = await millrace("ingest", str(docs), "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["counts"] == {"searchable": 2}
    assert {file["name"] for file in report["files"]} == {"a.md", "sub/b.md"}
    assert door.of("POST", "/v1/sources")[0].json == {"name": "docs", "connector": "files"}
    uploads = {part for asked in door.of("POST", "/v1/documents") for part in asked.body.split(b"\r\n")}
    assert {b"a.md", b"sub/b.md", b"src_1", b"# A\n", b"# B\n"} <= uploads
    keys = [asked.headers["idempotency-key"] for asked in door.of("POST", "/v1/documents")]
    assert len(set(keys)) == 2


async def test_progress_and_counts_are_shown(millrace: Millrace, door: Door, docs: Path) -> None:
    accepting(door, "complete")
    result = await millrace("ingest", str(docs))
    assert result.stdout == "2 searchable\n"


async def test_unchanged_files_are_passed_over_on_every_page(millrace: Millrace, door: Door, docs: Path) -> None:
    accepting(door, "complete")
    pages = [
        {"external_id": "a.md", "metadata": {"sha256": sha256(b"# A\n").hexdigest()}},
        {"external_id": "sub/b.md", "metadata": {"sha256": "another"}},
    ]
    door.answer(
        "GET",
        "/v1/documents",
        (200, {"documents": pages[:1], "next": "more"}),
        (200, {"documents": pages[1:], "next": None}),
    )
    report = json.loads((await millrace("ingest", str(docs), "--json")).stdout)
    assert report["counts"] == {"unchanged": 1, "searchable": 1}
    assert [asked.query for asked in door.of("GET", "/v1/documents")] == [
        "source=src_1&limit=500",
        "source=src_1&limit=500&cursor=more",
    ]


async def test_force_sends_everything(millrace: Millrace, door: Door, docs: Path) -> None:
    accepting(door, "complete")
    report = json.loads((await millrace("ingest", str(docs), "--force", "--json")).stdout)
    assert report["counts"] == {"searchable": 2}
    assert door.of("GET", "/v1/documents") == []


async def test_without_waiting_the_events_are_reported(millrace: Millrace, door: Door, docs: Path) -> None:
    accepting(door, "accepted")
    result = await millrace("ingest", str(docs), "--no-wait", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["counts"] == {"accepted": 2}
    assert {file["event_id"] for file in report["files"]} == {"e0", "e1"}


async def test_a_refused_file_is_reported_and_the_rest_goes_on(millrace: Millrace, door: Door, docs: Path) -> None:
    accepting(door, "complete")
    too_large = (413, {"code": "body_too_large", "detail": "the limit is 10 bytes"})
    door.answer("POST", "/v1/documents", too_large, (202, {"event_id": "e1", "document_id": "d1"}))
    result = await millrace("ingest", str(docs), str(docs / "none.md"), "--concurrency", "1")
    assert result.exit_code == 1
    assert "failed: a.md: body_too_large: the limit is 10 bytes" in result.stderr
    assert "none.md: does not exist" in result.stderr
    assert "2 failed, 1 searchable" in result.stdout


async def test_a_dead_letter_is_a_failure_and_no_document_is_not(millrace: Millrace, door: Door, docs: Path) -> None:
    accepting(door)
    letters = [{"reason": "encrypted_document", "detail": "needs a password"}]
    door.answer("GET", "/v1/events/e0", (404, {}), (200, {"state": "dead_lettered", "dead_letters": letters}))
    stages = [{"stage": "normalised", "at": "", "detail": "no text in it"}]
    door.answer("GET", "/v1/events/e1", (200, {"state": "not_a_document", "stages": stages}))
    result = await millrace("ingest", str(docs), "--concurrency", "1", "--json")
    assert result.exit_code == 1
    outcomes = {file["name"]: (file["outcome"], file["reason"]) for file in json.loads(result.stdout)["files"]}
    assert outcomes == {
        "a.md": ("failed", "encrypted_document: needs a password"),
        "sub/b.md": ("skipped", "not a document: no text in it"),
    }


async def test_what_does_not_become_searchable_in_time_has_failed(millrace: Millrace, door: Door, docs: Path) -> None:
    accepting(door, "accepted")
    result = await millrace("ingest", str(docs), "--timeout", "1", "--json")
    assert result.exit_code == 1
    assert {file["reason"] for file in json.loads(result.stdout)["files"]} == {"not searchable after 1 s"}


async def test_what_fails_for_every_file_ends_it(millrace: Millrace, door: Door, docs: Path) -> None:
    accepting(door, "complete")
    door.answer("POST", "/v1/documents", (401, {"code": "invalid_key", "detail": "no such key"}))
    refused = await millrace("ingest", str(docs), "--json")
    assert refused.exit_code == 4
    assert json.loads(refused.stderr)["error"]["code"] == "invalid_key"


async def test_files_given_one_by_one_are_uploads(millrace: Millrace, door: Door, docs: Path) -> None:
    accepting(door, "complete")
    await millrace("ingest", str(docs / "a.md"))
    await millrace("ingest", str(docs), "--source", "handbook", "--suffix", "md", "--exclude", "sub/*")
    assert [asked.json["name"] for asked in door.of("POST", "/v1/sources")] == ["uploads", "handbook"]
    assert len(door.of("POST", "/v1/documents")) == 2


async def test_a_source_that_takes_no_files_is_refused(millrace: Millrace, door: Door, docs: Path) -> None:
    door.answer("POST", "/v1/sources", (409, {"code": "source_conflict", "detail": "exists with another connector"}))
    result = await millrace("ingest", str(docs), "--json")
    assert result.exit_code == 4
    assert json.loads(result.stderr)["error"]["code"] == "source_conflict"


async def test_an_empty_folder_is_nothing_to_do(millrace: Millrace, door: Door, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = await millrace("ingest", str(tmp_path / "empty"))
    assert (result.exit_code, result.stdout) == (0, "nothing to ingest\n")
    assert door.asked == []
