import unicodedata
from pathlib import Path

import pytest

from infra.errors import Permanent
from schemas.dead_letters import Reason
from tests.unit.workers.normalizer.arrivals import file, only, raw, read, relations, states
from tests.unit.workers.normalizer.parse.test_feed import ATOM, RSS
from workers.normalizer.sources.draft import NotADocument
from workers.normalizer.sources.registry import mapping_of
from workers.normalizer.version import unrevised

DOCUMENTS = Path(__file__).parents[4] / "data" / "documents"


@pytest.mark.parametrize("path", sorted(DOCUMENTS.iterdir()), ids=lambda path: path.name)
def test_every_sample_document(path: Path) -> None:
    document = only(read(file(path.name, path.read_bytes())))
    assert document.external_id == path.name
    assert document.metadata["filename"] == path.name
    assert document.title
    assert document.chunks
    assert all(document.text_of(chunk).strip() for chunk in document.chunks)
    assert document.version == unrevised(7)


def test_what_the_sender_says_wins() -> None:
    body = (DOCUMENTS / "mill-handbook.md").read_bytes()
    document = only(
        read(
            file(
                "mill-handbook.md",
                body,
                title="Mine",
                url="https://mill.example/h",
                metadata='{"version": "5", "ok": true}',
            )
        )
    )
    assert document.title == "Mine"
    assert document.url == "https://mill.example/h"
    assert document.metadata["version"] == "5"
    assert document.metadata["ok"] is True
    assert document.language == "en"
    assert ("person:files:Maren Quist", "AUTHORED", "this") in relations(document)
    assert document.chunks[-1].heading.startswith("Handbook of the Otterbrook mill > ")


def test_code_has_no_language_of_people() -> None:
    document = only(read(file("a.py", b"# a long comment that is certainly written in the English language\n")))
    assert document.language == ""
    assert document.metadata["code_language"] == "python"


@pytest.mark.parametrize("body", [b"", b" \n\t", b"\xef\xbb\xbf", b"\x07\x1b\x08", b"---\ntitle: x\n---\n"])
def test_empty_files_are_no_documents(body: bytes) -> None:
    assert isinstance(read(file("a.md", body)), NotADocument)


def test_a_text_without_a_file_name() -> None:
    upload = raw("files", b"# Note\n\nwords", subject="0f" * 32, content_type="text/markdown; charset=utf-8")
    assert only(read(upload)).title == "Note"
    named = raw("files", b"a,b\n1,2", subject="folder/table.csv", attributes={"metadata": "not json"})
    assert only(read(named)).text == "a: 1; b: 2"


def test_a_user_deletes_a_file() -> None:
    deletion = raw("files", operation="delete", subject="a.md", after_version=unrevised(3))
    gone = only(read(deletion, offset=9))
    assert (gone.operation, gone.version) == ("delete", unrevised(9))
    assert gone.document_id == only(read(file("a.md", b"words"))).document_id
    elsewhere = raw("github", operation="delete", subject="issue:1", after_version=900)
    assert only(read(elsewhere, offset=5_000)).version == 901
    with pytest.raises(Permanent) as caught:
        read(raw("files", operation="delete"))
    assert caught.value.reason is Reason.SCHEMA_VIOLATION


def test_feed_entries() -> None:
    entry = only(read(raw("feed", ATOM, attributes={"url": "https://mill.example/feed.xml"})))
    assert entry.kind == "entry"
    assert entry.url == "https://mill.example/news/1"
    assert entry.links == ("https://mill.example/log",)
    assert entry.metadata == {"feed": "Mill news", "tags": ("wheel",)}
    assert ("this", "PART_OF", "feed:web:https://mill.example/feed.xml") in relations(entry)
    assert ("person:feed:Maren Quist", "AUTHORED", "this") in relations(entry)
    assert ("this", "TAGGED", "topic:feed:wheel") in relations(entry)


def test_an_unchanged_entry_of_a_later_pull_says_the_same_and_counts_as_later() -> None:
    for feed in (ATOM, RSS):
        outcomes = [states(raw("feed", feed), offset=offset) for offset in (3, 8)]
        assert isinstance(outcomes[0], tuple)
        assert isinstance(outcomes[1], tuple)
        for before, after in zip(*outcomes, strict=True):
            assert before.version.version < after.version.version
            assert before.digest == after.digest


def test_a_name_in_another_spelling_is_the_same_document() -> None:
    composed, combining = (file(unicodedata.normalize(form, "Mühle.md"), b"words") for form in ("NFC", "NFD"))
    assert composed.subject != combining.subject
    assert only(read(composed)).document_id == only(read(combining)).document_id
    assert only(read(combining)).external_id == composed.subject
    stored = raw("files", operation="delete", subject=combining.subject, after_version=2)
    assert only(read(stored)).external_id == combining.subject, "stored before, it can be deleted by its own name"


def test_empty_and_broken_feeds() -> None:
    assert isinstance(read(raw("feed", b"")), NotADocument)
    empty = b'<?xml version="1.0"?><rss version="2.0"><channel><title>T</title></channel></rss>'
    assert isinstance(read(raw("feed", empty)), NotADocument)


def test_unknown_connectors() -> None:
    with pytest.raises(Permanent) as caught:
        mapping_of("carrier-pigeon")
    assert caught.value.reason is Reason.UNKNOWN_CONNECTOR
