"""A comparison that finds nothing proves something only if it finds what is there."""

from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from bench.kill.findings import Fault, Findings
from bench.kill.graph import judge_edges, wanted_edges
from bench.kill.log import judge_log
from bench.kill.model import World
from bench.kill.stream import Kind
from bench.kill.vectors import judge_points, whole
from infra.qdrant.points import Head
from schemas.documents import DocumentVersion
from tests.events import document
from tests.unit.bench.worlds import hook, world

TEXT = "one two three"
Points = list[dict[str, Any]]


def made() -> World:
    return world(hook(0, 5, text=TEXT))


def points(of: World) -> Points:
    """Return what a true index holds of the one document of `of`."""
    (document,) = of.documents.values()
    head = {"workspace": document.workspace, "document": str(document.document_id), "version": 5}
    spans = ((0, 7), (8, 13))
    chunks = [
        {**head, "part": "chunk", "ordinal": ordinal, "start": start, "end": end, "text": TEXT[start:end]}
        for ordinal, (start, end) in enumerate(spans)
    ]
    return [{**head, "part": "head", "deleted": False}, *chunks]


def found(held: Points, of: World, head: Head | None = None) -> set[Fault]:
    findings = Findings()
    (document_id,) = of.documents
    judge_points(held, of, {document_id: head or Head(5, deleted=False)}, findings)
    return {fault for fault, _ in findings.counts}


def test_a_true_index_is_clean() -> None:
    assert found(points(made()), made()) == set()


BREAKS: dict[str, tuple[Callable[[Points], Any], Fault]] = {
    "no point at all": (lambda held: held.clear(), Fault.LOST),
    "no head": (lambda held: held.pop(0), Fault.LOST),
    "a chunk is missing": (lambda held: held.pop(), Fault.LOST),
    "an old head": (lambda held: held[0].update(version=4), Fault.STALE),
    "a chunk left of an older version": (
        lambda held: held.append({**held[2], "version": 4, "ordinal": 2}),
        Fault.STALE,
    ),
    "the text of another state": (lambda held: held[1].update(text="eno two"), Fault.STALE),
    "deleted although alive": (lambda held: held[0].update(deleted=True), Fault.STALE),
    "a chunk twice": (lambda held: held.append(dict(held[2])), Fault.DUPLICATED),
    "two heads": (lambda held: held.append(dict(held[0])), Fault.DUPLICATED),
    "a document nobody sent": (lambda held: held.append({**held[0], "document": str(uuid4())}), Fault.DUPLICATED),
    "a point in another workspace": (lambda held: held[1].update(workspace="mill-2"), Fault.CROSSED),
}


@pytest.mark.parametrize("name", BREAKS)
def test_each_break_of_an_index_is_found_as_what_it_is(name: str) -> None:
    spoil, fault = BREAKS[name]
    held = points(made())
    spoil(held)
    assert found(held, made()) == {fault}


def test_chunks_of_a_deleted_document_are_stale() -> None:
    gone = world(hook(0, 4, text=TEXT), hook(1, 5, kind=Kind.DELETE))
    held = points(made())
    held[0]["deleted"] = True
    assert found(held, gone, Head(5, deleted=True)) == {Fault.STALE}
    assert found(held[:1], gone, Head(5, deleted=True)) == set()


def test_a_gap_is_a_gap_and_a_blank_is_none() -> None:
    spans = [(0, 3), (4, 7), (8, 13)]
    chunks = [{"ordinal": ordinal, "start": start, "end": end} for ordinal, (start, end) in enumerate(spans)]
    assert whole(chunks, TEXT)
    assert not whole([chunks[0], {**chunks[2], "ordinal": 1}], TEXT)
    assert not whole(chunks[:2], TEXT)
    assert not whole(chunks[1:], TEXT)


def edges_found(change: Callable[[Counter[tuple[str, ...]]], Any]) -> set[Fault]:
    wanted = wanted_edges(made())["relation"]
    held = Counter(wanted)
    change(held)
    findings = Findings()
    judge_edges("relation", held, wanted, findings)
    return {fault for fault, _ in findings.counts}


def test_each_break_of_the_graph_is_found_as_what_it_is() -> None:
    (edge,) = wanted_edges(made())["relation"]
    assert edges_found(lambda held: None) == set()
    assert edges_found(lambda held: held.clear()) == {Fault.LOST}
    assert edges_found(lambda held: held.update([edge])) == {Fault.DUPLICATED}
    assert edges_found(lambda held: held.update([(edge[0], edge[1], "LEFT_OVER", edge[3])])) == {Fault.STALE}
    assert edges_found(lambda held: held.update([(edge[0], "mill-2/x", edge[2], edge[3])])) == {Fault.CROSSED}


def test_findings_keep_a_few_examples_and_count_all() -> None:
    findings = Findings()
    assert findings.clean
    for number in range(30):
        findings.add(Fault.LOST, "vectors", str(number))
    assert findings.total(Fault.LOST) == 30
    assert len(findings.examples[Fault.LOST, "vectors"]) == 10
    assert not findings.clean


def last_said(text: str, version: int) -> DocumentVersion:
    return document(text, version=version, workspace="mill-1", external_id="doc")


def log_found(of: World, last: DocumentVersion | str | None, *, head: Head | None = None) -> set[Fault]:
    """Compare a log in which `last` is the last record of the one document of `of`; a string: it is that key's."""
    ((document_id, wanted),) = of.documents.items()
    key = f"{wanted.workspace}/{document_id}"
    words = {last: None} if isinstance(last, str) else {key: last}
    findings = Findings()
    judge_log(words, of, {document_id: head or Head(5, deleted=wanted.deleted)}, findings)
    assert findings.checked["documents in the log"] == 1
    return {fault for fault, _ in findings.counts}


def test_each_break_of_the_log_is_found_as_what_it_is() -> None:
    gone = world(hook(0, 4, text=TEXT), hook(1, 5, kind=Kind.DELETE))
    assert log_found(made(), last_said(TEXT, 5)) == set()
    assert log_found(gone, None) == set()
    assert log_found(made(), last_said(TEXT, 4)) == {Fault.STALE}
    assert log_found(made(), last_said("eno two", 5)) == {Fault.STALE}
    assert log_found(made(), None) == {Fault.STALE}
    assert log_found(gone, last_said(TEXT, 4)) == {Fault.STALE}
    assert log_found(made(), "mill-9/of-others") == {Fault.LOST}
    assert log_found(made(), "mill-1/unknown") == {Fault.LOST, Fault.DUPLICATED}
