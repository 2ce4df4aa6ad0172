import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.inference.speak import Spoken

FENCE = "<<<END SOURCE 2 14ae4e076fef7013>>>"


def told(
    text: str, cut: int = 1, *, at_once: bool = False, reasoning: bool = False, stop: tuple[str, ...] = ()
) -> list[str]:
    spoken = Spoken(at_once=at_once, reasoning=reasoning, stop=stop)
    return [*(spoken.feed(text[at : at + cut]) for at in range(0, len(text), cut)), spoken.rest()]


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1_000])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Weekly [1].", "Weekly [1]."),
        ("  \n Weekly [1].\n\n", "Weekly [1]."),
        ("<think>[9] hm</think>\n\nWeekly [1].", "Weekly [1]."),
        (" <think>a < b</think>Weekly", "Weekly"),
        (f"Weekly [1].\n{FENCE}", "Weekly [1]."),
        (f"{FENCE}Weekly{FENCE} [1].", "Weekly [1]."),
        ("a < b << c <<< d", "a < b << c <<< d"),
        ("<<<SOURCE x>>> is not one of ours", "<<<SOURCE x>>> is not one of ours"),
        ("<thin air>", "<thin air>"),
        ("<thi", "<thi"),
        ("", ""),
    ],
)
def test_the_pieces_joined_are_the_answer(text: str, said: str, cut: int) -> None:
    assert "".join(told(text, cut)) == said
    assert "".join(told(text, cut, at_once=True)) == said


def test_words_are_given_out_as_they_come() -> None:
    assert told("one two three", cut=4) == ["one", " two", " thre", "e", ""]


def test_nothing_is_given_out_early_where_nobody_reads_along() -> None:
    assert told("one two", cut=4, at_once=True) == ["", "", "one two"]


def test_thinking_without_its_beginning_is_known_by_the_setting_or_at_the_end() -> None:
    assert "".join(told("hm, a\n</think>\nWeekly", reasoning=True)) == "Weekly"
    assert "".join(told("hm, a\n</think>\nWeekly", at_once=True)) == "Weekly"


def test_thinking_that_never_ends_says_nothing() -> None:
    for at_once in (True, False):
        assert "".join(told("<think>on and on", cut=3, at_once=at_once)) == ""
        assert "".join(told("on and on", cut=3, at_once=at_once, reasoning=True)) == ""


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1_000])
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("text", "stop", "said"),
    [
        ("A mill is a device used to", ("device",), "A mill is a"),
        ("one, two, three", (" three", "two"), "one,"),
        ("one\n\ntwo", ("\n\n",), "one"),
        ("one\ntwo", ("\n\n",), "one\ntwo"),
        ("aab", ("ab",), "a"),
        ("nearly devic", ("device",), "nearly devic"),
        ("<think>a device</think>Weekly, by a device", ("device",), "Weekly, by a"),
        ("never", ("", "x"), "never"),
    ],
)
def test_it_ends_before_the_first_stop_sequence(
    text: str, stop: tuple[str, ...], said: str, cut: int, *, at_once: bool
) -> None:
    assert "".join(told(text, cut, at_once=at_once, stop=stop)) == said


@given(st.text("ab <", max_size=20), st.lists(st.text("ab <", min_size=1, max_size=4), max_size=3))
def test_what_is_read_along_never_holds_a_stop_sequence(text: str, stop: list[str]) -> None:
    spoken = Spoken(at_once=False, stop=stop)
    joined = "".join([*map(spoken.feed, text), spoken.rest()])
    _, first = min(((text.find(one) + len(one), text.find(one)) for one in stop if one in text), default=(0, len(text)))
    assert joined == text[:first].strip()
    assert spoken.stopped is any(one in text for one in stop)


@given(st.lists(st.sampled_from(["a", " ", "\n", "<", "<<<", ">", FENCE, FENCE[:9], "</think>", "é"]), max_size=30))
def test_how_it_is_cut_changes_nothing_but_blanks_around_fences(parts: list[str]) -> None:
    spoken = Spoken(at_once=False)
    pieces = [spoken.feed(part) for part in parts]
    joined = "".join([*pieces, spoken.rest()])
    assert joined == "".join(told("".join(parts), cut=1))
    assert joined == joined.strip()
