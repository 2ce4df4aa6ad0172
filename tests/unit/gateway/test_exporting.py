"""Exports: what is in the file, and that nothing in it runs."""

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import pytest

from gateway.exporting import FORMATS, Format, disposition, safe_cell
from infra.postgres.conversations import Conversation
from infra.postgres.messages import Message

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OWN = UUID(int=7)


def conversation(title: str = "Login queue") -> Conversation:
    return Conversation(OWN, title, AT, AT, archived=False, messages=2, snippet=None)


def message(content: str, role: str = "user", **fields: Any) -> Message:
    values = {"citations": [], "model": "", "served_by": "", "created_at": AT, "error": None, "rating": None}
    known = {"message_id": UUID(int=1), "request_id": UUID(int=2), "place": (AT, UUID(int=2), 0)}
    return Message(role=cast(Any, role), content=content, **{**known, **values, **fields})


async def exported(wanted: Format, *pages: list[Message], title: str = "Login queue") -> str:
    async def given() -> AsyncIterator[list[Message]]:
        for page in pages:
            yield page

    parts = [part async for part in FORMATS[wanted].write(conversation(title), given())]
    return b"".join(parts).decode()


@pytest.mark.parametrize("pages", [0, 1, 3])
async def test_json_is_one_document_however_many_pages_it_has(pages: int) -> None:
    body = json.loads(await exported("json", *([message(f"{page}“\x07"), message("b")] for page in range(pages))))
    assert body["conversation_id"] == str(OWN)
    assert [each["content"] for each in body["messages"]] == [
        text for page in range(pages) for text in (f"{page}“\x07", "b")
    ]


async def test_a_csv_holds_every_text_as_it_was() -> None:
    content = 'a "quoted", line\r\nand another; tab\t'
    citation = {"number": 1, "document_id": str(UUID(int=3)), "url": "", "quote": "q"}
    whole = await exported(
        "csv", [message(content)], [message("An answer", "assistant", citations=[citation], rating="up")]
    )
    assert whole.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(whole.removeprefix("\ufeff"), newline="")))
    assert [row["content"] for row in rows] == [content, "An answer"]
    assert rows[0]["created_at"] == "2026-01-02T03:04:05+00:00"
    assert rows[1]["sources"] == f"[1] {UUID(int=3)}"
    assert [row["rating"] for row in rows] == ["", "up"]


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =cmd|' /C calc'!A0", "＝1+1", "\xa0=1"]
)
async def test_no_cell_begins_like_a_formula(text: str) -> None:
    assert safe_cell(text) == f"'{text}"
    whole = await exported("csv", [message(text, model=text)])
    (row,) = csv.DictReader(io.StringIO(whole.removeprefix("\ufeff"), newline=""))
    assert row["content"].startswith("'")
    assert row["model"].startswith("'")


@pytest.mark.parametrize("text", ["", "plain", "a=b", "1-2", "e@example.org"])
def test_other_cells_stay_as_they_are(text: str) -> None:
    assert safe_cell(text) == text


async def test_markdown_reads_as_a_conversation() -> None:
    citation = {
        "number": 1,
        "document_id": str(UUID(int=3)),
        "url": "https://e.org/a(b)>c",
        "title": "A [b]",
        "quote": "q\nr",
    }
    failed = {"code": "late", "detail": "too *late*"}
    whole = await exported(
        "markdown",
        [message("Who?"), message("Ada [1].", "assistant", citations=[citation])],
        [message("", "assistant", error=failed)],
        title="# <script>\n[x](y)",
    )
    assert whole.startswith("# \\# \\<script\\> \\[x\\](y)\n")
    assert "## Question, 2026-01-02 03:04:05 UTC\n\nWho?\n" in whole
    assert "Ada [1].\n\n1. [A \\[b\\]](<https://e.org/a(b)%3Ec>): “q r”\n" in whole
    assert "*No answer: too \\*late\\**" in whole


@pytest.mark.parametrize(
    ("title", "plain", "encoded"),
    [
        ("Login queue", "login-queue.csv", "Login%20queue.csv"),
        ("Größe?", "gr-e.csv", "Gr%C3%B6%C3%9Fe.csv"),
        ("../../etc/passwd", "etc-passwd.csv", "etc%20passwd.csv"),
        ('a"; filename="b.exe', "a-filename-b-exe.csv", "a%20%3B%20filename%3D%20b.exe.csv"),
        ("a\r\nSet-Cookie: x", "a-set-cookie-x.csv", "a%20Set-Cookie%20%20x.csv"),
        ("\u202etxt.exe", "txt-exe.csv", "txt.exe.csv"),
        ("…", f"conversation-{OWN}.csv", "%E2%80%A6.csv"),
        ("", f"conversation-{OWN}.csv", f"conversation-{OWN}.csv"),
        ("...", f"conversation-{OWN}.csv", f"conversation-{OWN}.csv"),
        ("x" * 200, "x" * 80 + ".csv", "x" * 80 + ".csv"),
    ],
)
def test_the_file_is_named_after_the_title_and_is_no_path(title: str, plain: str, encoded: str) -> None:
    header = disposition(conversation(title), FORMATS["csv"])
    assert header == f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
    assert header.isascii()
    assert header.isprintable()
