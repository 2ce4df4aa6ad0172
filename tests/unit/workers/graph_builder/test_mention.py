import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.graph_builder.mention import Gazetteer, Known, Mention, forms_of

ANN = Known("person:github:ann", "person", "Ann Lee", ("ann-lee",))
REPOSITORY = Known("repository:github:Octo/Hello", "repository", "Octo/Hello")
ISSUE = Known("issue:github:Octo/Hello#1", "issue", "It is broken", ("Octo/Hello#1",))
LABEL = Known("label:github:bug", "label", "bug")
TEAM = Known("team:github:octo/core", "team", "octo/core")
KNOWN = Gazetteer([ANN, REPOSITORY, ISSUE, LABEL, TEAM])


def named(text: str, gazetteer: Gazetteer = KNOWN) -> list[str]:
    return [text[mention.start : mention.end] for mention in gazetteer.find(text)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Ask Ann Lee.", ["Ann Lee"]),
        ("(Ann Lee)", ["Ann Lee"]),
        ("ANN LEE and ann lee", []),
        ("Joann Lee, Ann Leers", []),
        ("cc @ann-lee, thanks", ["@ann-lee"]),
        ("cc @Ann-Lee", ["@Ann-Lee"]),
        ("ann-lee wrote", []),
        ("mail bob@ann-lee.org or @ann-lee.org", []),
        ("@ann-lee-jones and @ann-lee/team", []),
        ("see octo/hello.", ["octo/hello"]),
        ("see Octo/Hello, then go", ["Octo/Hello"]),
        ("octo/hello.js octo/hello/tree x/octo/hello octo/hello-world", []),
        ("https://github.com/octo/hello", []),
        ("fixed in octo/hello#1", ["octo/hello#1"]),
        ("fixed in octo/hello#12", []),
        ("a bug, It is broken", []),
        ("ask @Octo/Core, not octo/core", ["@Octo/Core"]),
        ("", []),
    ],
)
def test_what_counts_as_a_name(text: str, names: list[str]) -> None:
    assert named(text) == names


def test_the_first_place_and_the_count_are_told() -> None:
    text = "Well, Ann Lee met @ann-lee; Ann Lee left."
    assert KNOWN.find(text) == [Mention(ANN.key, 6, 13, 3)]


def test_the_leftmost_longest_name_that_stands_alone_counts() -> None:
    gazetteer = Gazetteer([ANN, Known("p:2", "person", "Ann Lee Jones"), Known("p:3", "person", "Lee Jones")])
    assert named("Ann Lee Jones", gazetteer) == ["Ann Lee Jones"]
    assert named("Ann Lee Joneson", gazetteer) == ["Ann Lee"]
    assert named("Al Lee Jones", gazetteer) == ["Lee Jones"]


def test_a_name_of_two_bearers_links_to_neither() -> None:
    twins = [Known("p:1", "person", "Kim Park", ("kim",)), Known("p:2", "person", "Kim Park", ("park",))]
    gazetteer = Gazetteer(twins)
    assert [mention.key for mention in gazetteer.find("Kim Park, @kim and @park")] == ["p:1", "p:2"]
    assert gazetteer.find("Kim Park") == []


def test_names_that_differ_in_case_are_different_people() -> None:
    gazetteer = Gazetteer([Known("p:1", "person", "Will Read"), Known("p:2", "person", "Will READ")])
    assert [mention.key for mention in gazetteer.find("Will READ spoke to Will Read")] == ["p:2", "p:1"]
    assert gazetteer.find("will read") == []


def test_offsets_hold_after_letters_that_grow_in_lower_case() -> None:
    text = "İİİ 𝔘 Ann Lee"
    (mention,) = KNOWN.find(text)
    assert text[mention.start : mention.end] == "Ann Lee"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("label", "good first issue"),
        ("person", "al yu"),
        ("person", "the team"),
        ("person", "A B"),
        ("person", "N. " + "x" * 100),
        ("repository", "hello"),
        ("issue", "Crash on start"),
        ("topic", "Machine Learning"),
        ("person", ""),
    ],
)
def test_unsafe_names_are_not_looked_for(kind: str, name: str) -> None:
    assert forms_of(Known("k", kind, name)) == []


def test_an_empty_gazetteer_finds_nothing() -> None:
    assert len(Gazetteer([])) == 0
    assert Gazetteer([]).find("Ann Lee") == []


@given(st.text(alphabet="An Le@/-.#io1\n", max_size=60))
def test_mentions_lie_in_the_text_and_are_no_part_of_a_longer_word(text: str) -> None:
    for mention in KNOWN.find(text):
        quote = text[mention.start : mention.end]
        assert quote == "Ann Lee" or quote.lower() in {"@ann-lee", "octo/hello", "octo/hello#1"}
        assert not text[mention.end : mention.end + 1].isalnum()
        assert not text[mention.start - 1 : mention.start].isalnum() or mention.start == 0
