from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workers.normalizer.chunk import cut, left_out
from workers.normalizer.text import clean

SIGNS = st.sampled_from(
    ["word ", "Müller ", "e\u0301", "👩‍👩‍👧 ", "🇩🇪", "\n", "\n\n", "\r\n", "# Title\n", "## Sub\n", "- item\n",
     "```\ncode\n```\n", "| a | b |\n", "x" * 700, "日本語", "\t", "> quote\n", "\u00a0", "1. one\n", "[a](http://b.c)",
     "\u202e", "."]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=3_000), st.lists(SIGNS, max_size=400).map("".join))


def covers(text: str, spans: list[tuple[int, int]]) -> None:
    reached = 0
    for start, end in spans:
        assert not text[reached:start].strip(), f"text between {reached} and {start} is in no chunk"
        reached = max(reached, end)
    assert not text[reached:].strip()


@example(text="\x1f", form="markdown", size=100)
@settings(max_examples=150, deadline=None)
@given(text=TEXTS, form=st.sampled_from(["markdown", "text", "code"]), size=st.sampled_from([100, 250, 1_000]))
def test_chunks_cover_the_text_in_order_and_within_the_size(text: str, form: str, size: int) -> None:
    chunks = cut(text, form, size, size // 10)  # type: ignore[arg-type]
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    for chunk in chunks:
        passage = text[chunk.start : chunk.end]
        assert 0 < len(passage) <= size
        assert passage.strip()
    for before, after in pairwise(chunks):
        assert before.start < after.start
        assert before.end < after.end
        assert before.end - after.start <= size // 10
    covers(text, [(chunk.start, chunk.end) for chunk in chunks])


@pytest.mark.parametrize(
    "text",
    [
        "x" * 120_000,
        "ab " * 40_000,
        "é👨‍👩‍👧 " * 12_000,
        "line\n" * 20_000,
        " " * 50_000 + "end",
        "start" + " " * 50_000 + "end" + " " * 50_000,
    ],
)
def test_long_texts_are_cut_window_by_window_without_a_seam(text: str) -> None:
    chunks = cut(text, "markdown")
    covers(text, [(chunk.start, chunk.end) for chunk in chunks])
    assert all(chunk.end - chunk.start <= 1_000 for chunk in chunks)
    if len(chunks) > 2:
        shared = [before.end - after.start for before, after in pairwise(chunks)]
        assert max(shared) <= 100
        assert sum(shared) / len(shared) > 50, "neighbours share their edge in every window"


def test_each_chunk_knows_the_headings_above_it() -> None:
    text = clean(
        "Before any heading.\n\n# Mill\n\n" + "Stones. " * 60 + "\n\n## Race\n\n" + "Water. " * 60
        + "\n\n```\n# not a heading\n```\n\nGates\n-----\n\n" + "Oak. " * 120 + "\n\n# Other #\n\nEnd."
    )  # fmt: skip
    chunks = cut(text, size=500, overlap=50)
    found = {chunk.heading for chunk in chunks}
    assert {"Mill", "Mill > Race", "Mill > Gates"} <= found
    assert "not a heading" not in " ".join(found)
    last = chunks[-1]
    assert text[last.start : last.end].endswith("End.")
    assert last.heading in {"Other", "Mill > Gates"}
    for chunk in chunks:
        if "Water. Water." in text[chunk.start : chunk.end] and "Stones." not in text[chunk.start : chunk.end]:
            assert chunk.heading == "Mill > Race"


def test_plain_text_has_no_headings() -> None:
    assert {chunk.heading for chunk in cut("# no heading\n\ntext " * 300, "text")} == {""}


def test_a_text_has_a_most_of_chunks_and_tells_what_is_left_out() -> None:
    text = "".join(f"Line {number} of the table.\n" for number in range(400))
    whole, bounded = cut(text, "text", 200, 20), cut(text, "text", 200, 20, most=5)
    assert bounded == whole[:5]
    assert left_out(text, bounded) == len(text) - bounded[-1].end
    assert left_out(text, whole) == 0
    assert left_out(" \n", ()) == 0


def test_nothing_comes_of_nothing() -> None:
    assert cut("") == ()
    assert cut(" \n\t ") == ()


@pytest.mark.parametrize(("size", "overlap"), [(100, 100), (100, -1), (10, 20)])
def test_an_overlap_must_be_smaller_than_the_chunk(size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap"):
        cut("text", size=size, overlap=overlap)
