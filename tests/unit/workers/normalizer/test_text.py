import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.normalizer.text import clean, links_in, one_line, web_address


@given(st.text(alphabet=st.characters(), max_size=500))
def test_clean_text_is_in_its_final_form(text: str) -> None:
    cleaned = clean(text)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert "\r" not in cleaned
    assert "\0" not in cleaned
    assert "\n\n\n\n" not in cleaned
    cleaned.encode()
    assert clean(cleaned) == cleaned


def test_newlines_controls_and_marks() -> None:
    assert clean("\ufeffa\r\nb\rc\x00\x07\x1b[0m\u2028d \t\n\n\n\n\n\ne\n\n") == "a\nb\nc[0m\nd\n\n\ne"
    assert clean("Cafe\u0301") == "Café"
    assert clean("a\ud800b") == "ab"
    assert clean("  indented\n    code") == "  indented\n    code"


@pytest.mark.timeout(600)
def test_a_long_run_of_blanks_costs_no_more_than_its_length() -> None:
    """A tenth of a second; by the square of its length it is not over within the time of this test."""
    clean((" " * 300_000 + "x\n") * 3)
    clean("\u00a0\n" * 300_000)


def test_one_line() -> None:
    assert one_line(" A\n title\twith\x00 blanks ") == "A title with blanks"
    assert len(one_line("x" * 900)) == 500


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "ftp://a.b", "//a.b", "http://", "https:///p",
     "http://a b", "http://a/\x00", "http://a/\n", "http://[::1", "x" * 3_000, "http://a/" + "x" * 3_000, ""],
)  # fmt: skip
def test_only_web_addresses_are_kept(address: str) -> None:
    assert web_address(address) == ""


def test_links_lose_the_punctuation_around_them() -> None:
    text = (
        "See https://a.example/x, (https://b.example/y_(z)) and [c](http://c.example/?q=1). Again https://a.example/x! "
        "javascript:alert(1) <https://d.example>"
    )
    assert links_in(text) == (
        "https://a.example/x",
        "https://b.example/y_(z)",
        "http://c.example/?q=1",
        "https://d.example",
    )
    assert len(links_in(" ".join(f"https://a.example/{n}" for n in range(500)), limit=20)) == 20
