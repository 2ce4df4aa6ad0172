import pytest

from tests.chats import passage
from workers.inference.cite import QUOTE_CHARACTERS, citation_of, citations_in

ONE = passage(1, "Secrets matter. Keys are rotated weekly. The mill stands by a river.", at=50, cosines=(0.1, 0.2, 0.3))
TWO = passage(2, "  Certificates last for ninety days. \n", at=7)


def test_a_quote_is_literal_and_trimmed() -> None:
    citation = citation_of(TWO, TWO.start, TWO.end)
    assert citation.quote == "Certificates last for ninety days."
    assert TWO.text[citation.start - TWO.start : citation.end - TWO.start] == citation.quote


@pytest.mark.parametrize(("start", "end"), [(0, 60), (60, 60), (100, 1_000), (70, 60)])
def test_a_quote_outside_the_passage_is_refused(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        citation_of(ONE, start, end)


def test_a_blank_quote_is_refused() -> None:
    with pytest.raises(ValueError, match="quotes something"):
        citation_of(TWO, 7, 9)


def test_markers_become_citations_of_the_closest_sentence() -> None:
    text = "The mill is by a river [1]. Rotation of keys happens weekly [1][2]. Nothing else [9], [0]."
    citations = citations_in(text, [ONE, TWO])
    assert [(one.number, one.quote) for one in citations] == [
        (1, "The mill stands by a river."),
        (2, "Certificates last for ninety days."),
    ]


def test_a_list_of_numbers_in_one_marker_counts() -> None:
    assert [one.number for one in citations_in("Keys rotate weekly [2, 1].", [ONE, TWO])] == [2, 1]
    assert citations_in("Keys rotate weekly [2; 1].", [ONE, TWO])[1].quote == "Keys are rotated weekly."


def test_the_statement_before_the_marker_decides_not_the_whole_text() -> None:
    text = "Secrets matter a lot, they say.\nKeys are rotated every week [1]"
    assert citations_in(text, [ONE])[0].quote == "Keys are rotated weekly."


def test_a_marker_at_the_start_still_cites() -> None:
    assert len(citations_in("[1] says so", [ONE])) == 1


def test_without_sentences_the_passage_begins_the_quote() -> None:
    long = passage(1, "word " * 400)
    (citation,) = citations_in("So it is [1].", [long])
    assert citation.start == 0
    assert len(citation.quote) <= QUOTE_CHARACTERS


def test_a_text_without_markers_or_an_empty_passage_cites_nothing() -> None:
    assert citations_in("No idea.", [ONE]) == ()
    assert citations_in("Said [1].", [passage(1, "   ")]) == ()
