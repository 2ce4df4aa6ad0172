from uuid import UUID

import pytest

from infra.qdrant.points import Head
from workers.retriever.choose import Span, choose, is_current

A, B = UUID(int=1), UUID(int=2)


def span(point: str, document: UUID = A, version: int = 5, start: int = 0, end: int = 1_000) -> Span:
    return Span(point, document, version, start, end)


@pytest.mark.parametrize(
    ("version", "head", "current"),
    [
        (5, Head(5, deleted=False), True),
        (4, Head(5, deleted=False), False),
        (6, Head(5, deleted=False), True),  # the head of version 6 is about to be written
        (5, Head(6, deleted=True), False),
        (6, Head(6, deleted=True), False),
        (5, None, True),
    ],
)
def test_only_the_present_state_of_a_document_is_current(version: int, head: Head | None, current: bool) -> None:
    assert is_current(version, head) is current


def test_a_replaced_version_makes_room_for_the_next_candidate() -> None:
    spans = [span("old", version=4), span("new", version=5), span("other", B)]
    assert choose(spans, {A: Head(5, deleted=False), B: Head(1, deleted=False)}, 2) == ["new", "other"]


def test_chunks_of_a_deleted_document_are_dropped() -> None:
    assert choose([span("gone"), span("other", B)], {A: Head(9, deleted=True)}, 5) == ["other"]


def test_neighbours_stay_and_near_repetitions_go() -> None:
    spans = [
        span("first", start=0, end=1_000),
        span("neighbour", start=900, end=1_900),
        span("tail", start=1_880, end=1_905),  # 20 of its 25 characters stand in the neighbour
        span("elsewhere", B, start=0, end=1_000),
    ]
    assert choose(spans, {}, 5) == ["first", "neighbour", "elsewhere"]


def test_no_more_than_the_limit() -> None:
    assert choose([span("a"), span("b", B)], {}, 1) == ["a"]
    assert choose([], {}, 3) == []
