from dataclasses import replace
from uuid import UUID

import pytest

from infra.reconcile.states import Held, Known, Problem, Sink, compare

TABLE = Held(7, deleted=False)
KNOWN = Known("acme", UUID(int=1), "src_a", UUID(int=2), 7, False, chunks=3, relations=2, table=TABLE)
VECTORS = Held(7, deleted=False, parts=3, all_parts=3)
GRAPH = Held(7, deleted=False, parts=2, all_parts=2)
GONE = replace(KNOWN, version=8, deleted=True, chunks=0, relations=None, table=Held(8, deleted=True))


def found(known: Known, vectors: Held | None, graph: Held | None) -> dict[Sink, Problem]:
    return {finding.sink: finding.problem for finding in compare(known, vectors, graph)}


def test_equal_is_nothing() -> None:
    assert found(KNOWN, VECTORS, GRAPH) == {}
    tombstone = Held(8, deleted=True, parts=0, all_parts=0)
    assert found(GONE, tombstone, tombstone) == {}


@pytest.mark.parametrize(
    ("vectors", "problem"),
    [
        (None, Problem.MISSING),
        (replace(VECTORS, version=6), Problem.STALE),
        (replace(VECTORS, parts=2, all_parts=2), Problem.INCOMPLETE),
        (replace(VECTORS, parts=2, all_parts=4), Problem.INCOMPLETE),
        (replace(VECTORS, all_parts=4), Problem.SURPLUS),
        (Held(0, deleted=False, parts=0, all_parts=3), Problem.STALE),
    ],
)
def test_each_difference_has_its_name(vectors: Held | None, problem: Problem) -> None:
    assert found(KNOWN, vectors, GRAPH) == {Sink.VECTORS: problem}


def test_a_deleted_document_must_be_gone_and_its_tombstone_there() -> None:
    tombstone = Held(8, deleted=True, parts=0, all_parts=0)
    assert found(GONE, None, tombstone) == {Sink.VECTORS: Problem.MISSING}
    assert found(GONE, replace(VECTORS, version=8), tombstone) == {Sink.VECTORS: Problem.STALE}
    assert found(GONE, replace(tombstone, all_parts=1), tombstone) == {Sink.VECTORS: Problem.SURPLUS}
    assert found(GONE, tombstone, GRAPH) == {Sink.GRAPH: Problem.STALE}


def test_the_newest_version_known_to_anyone_is_right() -> None:
    """A sink may be ahead of the ledger, which then is the one that lags; its counts say nothing of that version."""
    ahead = Held(9, deleted=False, parts=5, all_parts=5)
    assert found(KNOWN, ahead, GRAPH) == {Sink.GRAPH: Problem.STALE, Sink.TABLE: Problem.STALE}
    assert found(replace(KNOWN, version=9, chunks=None, relations=None), ahead, replace(GRAPH, version=9)) == {
        Sink.TABLE: Problem.STALE
    }


def test_of_one_number_the_deletion_wins() -> None:
    tombstone = Held(7, deleted=True, parts=0, all_parts=0)
    assert found(KNOWN, tombstone, GRAPH) == {Sink.GRAPH: Problem.STALE, Sink.TABLE: Problem.STALE}


def test_what_only_an_event_names_is_missing_everywhere() -> None:
    unheard = replace(KNOWN, version=None, chunks=None, relations=None, table=None)
    assert found(unheard, None, None) == dict.fromkeys(Sink, Problem.MISSING)
