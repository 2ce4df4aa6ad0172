"""A comparison that finds nothing proves something only if it finds what is there."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from bench.kill.findings import Fault, Findings
from bench.kill.graph import judge_edges, wanted_edges
from bench.kill.log import judge_log, judge_texts
from bench.kill.model import World
from bench.kill.stream import Kind
from bench.kill.tables import judge_deletions, judge_left_out, spoken_of, told_of
from bench.kill.vectors import judge_points, whole
from infra.qdrant.points import Head
from schemas.documents import DocumentVersion
from tests.events import document
from tests.unit.bench.worlds import hook, played, world, writer

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


def test_two_texts_at_one_version_are_ambiguous() -> None:
    findings = Findings()
    judge_texts({("mill-1/a", 4): {("t", "one")}, ("mill-1/a", 5): {("t", "one"), ("u", "two")}}, findings)
    assert findings.checked["versions in the log"] == 2
    assert dict(findings.counts) == {(Fault.AMBIGUOUS, "log"): 1}
    assert "version 5" in findings.examples[Fault.AMBIGUOUS, "log"][0]


def removed() -> World:
    """A child, its container's removal behind it, and a late one of which nobody need know."""
    says = writer()
    early, late = says.say("early", parents=("box",)), says.say("late", parents=("box",))
    return played(early, replace(says.delete("box"), act=1), replace(late, act=2))


def of(world: World, name: str) -> tuple[UUID, UUID]:
    """Return the event and the document of a name."""
    ended = next(each for each in world.events.values() if each.step.external_id == name)
    assert ended.document_id is not None
    return ended.event_id, ended.document_id


def test_what_a_removal_may_speak_of_are_its_contents() -> None:
    world = removed()
    (gone, box), (child, early), (_, late) = (of(world, name) for name in ("box", "early", "late"))
    for documents, right in (
        ([box], True),
        ([box, early, late], True),
        ([early], False),
        ([box, box], False),
        ([box, uuid4()], False),
    ):
        assert told_of(world, world.events[gone], documents) is right
    assert told_of(world, world.events[child], [early])
    assert not told_of(world, world.events[child], [early, late])
    assert spoken_of(world, world.events[gone], early)
    assert not spoken_of(world, world.events[child], box)


def left_out(world: World, *pairs: tuple[UUID, UUID]) -> set[Fault]:
    findings = Findings()
    judge_left_out(world, set(pairs), findings)
    return {fault for fault, _ in findings.counts}


def test_a_state_is_left_out_only_if_another_event_says_it_or_a_newer_one() -> None:
    says = writer()
    old, first = says.say("a", version=1), says.say("a", version=2)
    world = played(old, first, says.again(first))
    older, newest, again = ((event_id, document_id) for event_id in world.events for document_id in world.documents)
    assert left_out(world, older, again) == set()
    assert left_out(world, older, newest) == set()
    assert left_out(world, newest, again) == {Fault.LOST}
    assert left_out(removed(), of(removed(), "early"), of(removed(), "late")) == set()
    assert left_out(removed(), of(removed(), "box")) == {Fault.LOST}


def test_every_sink_proves_every_deletion_at_its_last_version() -> None:
    document_id, alive = uuid4(), uuid4()
    heads = {document_id: Head(6, deleted=True), alive: Head(3, deleted=False)}
    sinks = ("embedder/a", "graph_builder")
    for proofs, lost in (
        ({(document_id, 6, "embedder/a"), (document_id, 6, "graph_builder")}, 0),
        ({(document_id, 6, "embedder/a"), (document_id, 5, "graph_builder")}, 1),
        (set(), 2),
    ):
        findings = Findings()
        judge_deletions(proofs, sinks, heads, findings)
        assert findings.total(Fault.LOST) == lost
        assert findings.checked["proofs of deletion"] == 1


def test_what_came_behind_a_removal_is_known_to_all_sinks_or_to_none() -> None:
    world = removed()
    late = of(world, "late")[1]
    only = World(world.sources, {late: world.documents[late]})
    head = {"workspace": "mill-1", "document": str(late), "version": 4, "part": "head", "deleted": True}
    key = f"mill-1/{late}"
    for known, faults in ((False, set()), (True, {(Fault.STALE, "vectors"), (Fault.STALE, "log")})):
        findings = Findings()
        judge_points([head] if known else [], only, {}, findings)
        judge_log({key: None} if known else {}, only, {}, findings)
        assert set(findings.counts) == faults
    findings = Findings()
    judge_points([head], only, {late: Head(4, deleted=True)}, findings)
    judge_log({key: None}, only, {late: Head(4, deleted=True)}, findings)
    assert findings.clean
