"""The flow as drawn from the catalogue."""

import pytest

from topics.catalogue import CHAT_REPLIES, DEAD_LETTERS, DOCUMENTS
from topics.diagram import BEGIN, END, MarkersMissingError, mermaid, replace_section, section, table


def test_every_arrow_is_drawn() -> None:
    drawn = mermaid([DOCUMENTS])
    assert "  documents([documents])" in drawn
    assert "  normalizer --> documents" in drawn
    assert all(f"  documents --> {consumer}" in drawn for consumer in DOCUMENTS.consumers)


def test_dead_letters_are_one_arrow() -> None:
    assert mermaid([DEAD_LETTERS]).count("--> dead_letters") == 0
    assert "any[any worker] -. gives up .-> dead_letters" in mermaid([DEAD_LETTERS])


def test_the_table_says_how_long_records_are_kept() -> None:
    assert "| newest per key, for ever |" in table([DOCUMENTS])
    assert "| 1 day |" in table([CHAT_REPLIES])


def test_only_the_part_between_the_markers_is_replaced() -> None:
    assert replace_section(f"before\n{BEGIN}\nold\n{END}\nafter") == f"before\n{section()}\nafter"


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END} {BEGIN}"])
def test_a_text_without_markers_is_left_alone(text: str) -> None:
    with pytest.raises(MarkersMissingError):
        replace_section(text)
