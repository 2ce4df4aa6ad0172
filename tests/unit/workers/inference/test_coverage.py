import pytest

from infra.models.sparse import tokenise
from workers.inference.coverage import answer_type, asked_by, identified, neighbour_coverage, passage_coverage

WEIGHTS = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}


def test_each_term_counts_once_at_its_nearest_place() -> None:
    covered = neighbour_coverage(WEIGHTS, {"a"}, {"a", "b"}, {"a", "b", "c"}, set())
    assert covered == pytest.approx((1 * 1 + 2 * 0.5 + 3 * 0.3) / 10)
    assert neighbour_coverage(WEIGHTS, set(), {"d"}, {"d"}, {"d"}) == pytest.approx(0.4)


def test_passage_coverage_counts_text_and_title() -> None:
    assert passage_coverage(WEIGHTS, {"a", "b"}, {"d"}) == pytest.approx(0.7)


def test_a_question_without_terms_covers_nothing() -> None:
    assert neighbour_coverage({}, {"a"}, set(), set(), set()) == 0.0
    assert passage_coverage({}, {"a"}, set()) == 0.0
    assert passage_coverage({"a": 0.0}, {"a"}, set()) == 0.0


@pytest.mark.parametrize(
    ("question", "sentence", "typed"),
    [
        ("When was it built?", "It was built in 1889.", True),
        ("When was it built?", "It was built in stone.", False),
        ("How many mills are there?", "There are twelve or 12 mills.", True),
        ("How many mills are there?", "There are several mills.", True),
        ("How many mills are there?", "There are mills.", False),
        ("What percentage of mills stand?", "Mills stand there.", False),
        ("In what year after 1914 was it built?", "It was built after 1914.", False),
        ("In what year after 1914 was it built?", "It was built in 1921.", True),
        ("Who followed Ada Osei?", "It was then run by Ada Osei.", False),
        ("Which city is it in?", "The mill stands in Lyon.", True),
        ("Who wrote it?", "It was written by Ada.", True),
        ("Who wrote it?", "It was written by hand.", False),
        ("Where is the mill?", "The mill stands in Lyon.", True),
        ("Where is the mill?", "The mill stands upright.", False),
        ("Why did it stop?", "It stopped because the stream was dry.", True),
        ("Why did it stop?", "It stopped on the way.", False),
        ("Is it open?", "It opened in 1889.", None),
        ("Wann wurde sie gebaut?", "Sie wurde 1889 gebaut.", None),
    ],
)
def test_the_type_of_a_question_is_looked_for(question: str, sentence: str, typed: bool | None) -> None:
    assert answer_type(asked_by(question, ()), sentence) is typed


@pytest.mark.parametrize(
    ("question", "named"),
    [
        ("What did the mill pay to Ada Osei in 1887?", {"ada", "osei", "1887"}),
        ("Mills were built when?", set()),
        ("What Is The Name Of The Mill", set()),
        ("Wo steht die Mühle von Herrn Weber seit 1887?", {"1887"}),
        ("What happened with ERR-52445?", {"err", "52445", "=err-52445"}),
    ],
)
def test_names_numbers_and_codes_of_a_question_are_named(question: str, named: set[str]) -> None:
    assert asked_by(question, tokenise(question)).named == named


def test_what_is_named_and_not_there_is_missing() -> None:
    asked = asked_by("Who ran the mill in 1887, Ada or Bo?", {"1887", "ada", "bo", "mill"})
    assert asked.missing({"mill", "ada", "1889"}) == 2


def test_codes_of_the_question_speak_for_a_passage_that_holds_them_and_against_one_that_does_not() -> None:
    weights = {"happen": 1.0, "err": 2.0, "=err-52445": 3.0}
    assert identified(weights, {"err", "=err-52445"}, set()) == 1.0
    assert identified(weights, set(), {"=err-52445"}) == 1.0
    assert identified(weights, {"err", "=err-52446"}, set()) == -1.0
    assert identified({**weights, "=ppr-9087": 1.0}, {"=err-52445"}, set()) == pytest.approx(0.5)
    assert identified({"happen": 1.0, "=19th": 2.0}, {"happen"}, set()) == 0.0
