import pytest

from schemas.chat import ChatMessage, Role
from workers.retriever.question import SEARCHED_CHARACTERS, Question, possible_names, read_question, without_names


def said(*turns: tuple[Role, str]) -> list[ChatMessage]:
    return [ChatMessage(role=role, content=content) for role, content in turns]


def test_the_last_user_message_is_the_question() -> None:
    turns = said(
        ("system", "be kind"),
        ("user", "How do I rotate the signing keys?"),
        ("assistant", "Like this."),
        ("user", " Which port does the metrics exporter use? "),
    )
    expected = "Which port does the metrics exporter use?"
    assert read_question(turns) == Question(expected, expected)


@pytest.mark.parametrize("follow_up", ["And in staging?", "What about the gateway and its certificates?", "Why?"])
def test_a_follow_up_is_searched_with_the_question_before_it(follow_up: str) -> None:
    turns = said(("user", "How are signing keys rotated?"), ("assistant", "So."), ("user", follow_up))
    assert read_question(turns) == Question(follow_up, f"How are signing keys rotated?\n{follow_up}")


def test_a_pronoun_alone_makes_a_follow_up_only_in_a_short_question() -> None:
    turns = said(("user", "How are signing keys rotated?"), ("user", "Who approved it last quarter?"))
    assert "rotated" in read_question(turns).searched
    long = "Does the exporter close its sockets when the collector restarts during deployment windows?"
    assert read_question(said(("user", "How are signing keys rotated?"), ("user", long))).searched == long


def test_of_a_pasted_log_both_ends_are_searched_for() -> None:
    log = "Why does it fail? " + "line\n" * 20_000 + "Error: no route"
    question = read_question(said(("user", "How are signing keys rotated?"), ("user", log)))
    assert question.asked == log
    assert len(question.searched) == SEARCHED_CHARACTERS
    assert question.searched.startswith("Why does it fail?")
    assert question.searched.endswith("Error: no route")


def test_a_conversation_without_a_user_is_asked_by_its_last_message() -> None:
    assert read_question(said(("assistant", "hello"))).asked == "hello"


def test_possible_names_are_runs_of_words_without_their_marks() -> None:
    names = possible_names("What did @octocat and Jean-Luc O'Neil say about Melanie’s plan?")
    assert {"octocat", "jean-luc o'neil", "melanie", "plan"} <= set(names)
    assert "what" not in names
    assert "what did" not in names
    assert len(names) == len(set(names))


def test_possible_names_are_bounded() -> None:
    assert len(possible_names("word " * 5_000)) <= 4
    assert len(possible_names(" ".join(f"w{n}" for n in range(5_000)))) <= 4 * 64


@pytest.mark.parametrize(
    ("text", "names", "rest"),
    [
        ("What did Caroline research?", ["caroline"], "What did research?"),
        ("What is Caroline's identity?", ["caroline"], "What is identity?"),
        ("What is Caroline’s identity?", ["caroline"], "What is identity?"),
        ("Which tests did @octocat skip?", ["octocat"], "Which tests did skip?"),
        ("Where did jane doe move?", ["jane doe", "jane"], "Where did move?"),
        ("How does kafka store offsets?", ["kafka"], "How does kafka store offsets?"),
        ("Who is Caroline?", ["caroline"], "Who is Caroline?"),
        ("Did Carolineville vote?", ["caroline"], "Did Carolineville vote?"),
    ],
)
def test_names_leave_the_embedded_text(text: str, names: list[str], rest: str) -> None:
    assert without_names(text, names) == rest
