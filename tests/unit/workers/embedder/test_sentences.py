from itertools import pairwise

import pytest

from schemas.documents import Chunk
from workers.embedder.sentences import LEAST_PART, MOST_PER_CHUNK, sentences_between, sentences_of

MARKDOWN = """# Install the thing

Run `make demo` first. It takes Dr. Smith's laptop about
90 seconds. See v1.2.3 for details!

- one item here
- another item there

1. First numbered

> quoted text here

---
The end."""


def quotes(text: str, language: str = "en") -> list[str]:
    return [text[start:end] for start, end in sentences_between(text, 0, len(text), language)]


def chunk(start: int, end: int, ordinal: int = 0) -> Chunk:
    return Chunk(ordinal=ordinal, start=start, end=end)


def test_sentences_are_quotable_without_the_marks_around_them() -> None:
    assert quotes(MARKDOWN) == [
        "Run `make demo` first.",
        "It takes Dr. Smith's laptop about\n90 seconds.",
        "See v1.2.3 for details!",
        "one item here",
        "another item there",
        "First numbered",
        "quoted text here",
        "The end.",
    ]


def test_offsets_count_code_points() -> None:
    assert quotes("Grüße 😀 an alle. Zweiter Satz.", "de") == ["Grüße 😀 an alle.", "Zweiter Satz."]


@pytest.mark.parametrize("language", ["", "xx", "en", "fr", "ja"])
def test_an_unknown_language_still_has_sentences(language: str) -> None:
    assert quotes("One sentence here. Another one there.", language)


def test_a_part_of_a_text_is_cut_as_the_whole_is() -> None:
    text = " ".join(f"This is sentence number {number} of a long text." for number in range(500))
    whole = sentences_between(text, 0, len(text), "en")
    start, end = 9_000, 10_000
    assert sentences_between(text, start, end, "en") == [s for s in whole if s[0] < end and s[1] > start]


def test_a_sentence_in_the_overlap_belongs_to_both_chunks() -> None:
    chunks = [chunk(0, 100), chunk(80, 200, 1)]
    spans = [(0, 75), (82, 98), (99, 150)]
    assert sentences_of(chunks, 0, spans) == ((0, 75), (82, 98))
    assert sentences_of(chunks, 1, spans) == ((82, 98), (99, 150))


def test_a_sentence_that_no_chunk_holds_belongs_in_parts() -> None:
    chunks = [chunk(0, 100), chunk(100, 200, 1), chunk(200, 300, 2)]
    spans = [(50, 290)]
    parts = [sentences_of(chunks, at, spans) for at in range(3)]
    assert parts == [((50, 100),), ((100, 200),), ((200, 290),)]


def test_a_crumb_of_a_sentence_is_left_out() -> None:
    chunks = [chunk(0, 100), chunk(100, 200, 1)]
    assert sentences_of(chunks, 0, [(100 - LEAST_PART + 1, 150)]) == ()


def test_sentences_of_a_chunk_are_bounded() -> None:
    spans = [(at, at + 2) for at in range(0, 300, 3)]
    assert len(sentences_of([chunk(0, 400)], 0, spans)) == MOST_PER_CHUNK


def test_every_sentence_of_prose_is_in_some_chunk() -> None:
    text = " ".join(f"Sentence number {number} says a little more than the others." for number in range(200))
    spans = sentences_between(text, 0, len(text), "en")
    edges = [*range(0, len(text), 900), len(text)]
    chunks = [chunk(start, min(end + 100, len(text)), at) for at, (start, end) in enumerate(pairwise(edges))]
    held = {span for at in range(len(chunks)) for span in sentences_of(chunks, at, spans)}
    assert held == set(spans)
