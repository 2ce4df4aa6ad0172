import pytest

from workers.archivist.rows import TITLE_LIMIT, title_of


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("Who wrote it?", "Who wrote it?"),
        ("  Who\n\twrote   it? ", "Who wrote it?"),
        ("", ""),
        ("nul\x00l", "nul\ufffdl"),
        ("x" * 200, "x" * TITLE_LIMIT),
        ("word " * 40, "word " * 15 + "word…"),
    ],
)
def test_a_title_is_the_question_on_one_line(question: str, title: str) -> None:
    assert title_of(question) == title
    assert len(title_of(question)) <= TITLE_LIMIT
