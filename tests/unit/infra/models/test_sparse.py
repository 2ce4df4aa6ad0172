from collections import Counter

import pytest

from infra.models.identifiers import is_code
from infra.models.sparse import (
    AUTHOR_WEIGHT,
    BODY_LENGTH,
    K1,
    TITLE_LENGTH,
    TITLE_WEIGHT,
    B,
    SparseTerms,
    document_vector,
    is_one_word,
    query_vector,
    term_id,
    tokenise,
)


def weight_of(term: str, vector: SparseTerms) -> float:
    return dict(zip(vector.indices, vector.values, strict=True)).get(term_id(term), 0.0)


def test_words_are_lowered_stemmed_and_freed_of_stop_words() -> None:
    assert tokenise("When did the Brokers elect John's leaders?") == ["broker", "elect", "john", "leader"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("see MILL-12", "=mill-12"),
        ("fixed in v2.0.0-rc.1 today", "=v2.0.0-rc.1"),
        ("edit infra/kafka/runtime.py now", "=runtime.py"),
        ("call max_poll_records here", "=max_poll_records"),
        ("the getHTTPResponse method", "=gethttpresponse"),
        ("closes #431", "=#431"),
        ("sha256 of it", "=sha256"),
        ("What happened with ERR-52445?", "=err-52445"),
        ("ERR\u201152445's log", "=err-52445"),
        ("https://host:8080/issues/ERR-52445?x=1", "=err-52445"),
        ("part SKF-6204/2RS", "=skf-6204/2rs"),
        ("0x8007045D", "=0x8007045d"),
        ("550e8400-e29b-41d4-a716-446655440000", "=550e8400-e29b-41d4-a716-446655440000"),
        ("see /etc/weir/gate.conf", "=etc/weir/gate.conf"),
        ("see /etc/weir/gate.conf", "=gate.conf"),
        ("Übergabe_Müll-12", "=übergabe_müll-12"),
        ("STRASSE-12", "=strasse-12"),
        ("Straße-12", "=strasse-12"),
        ("in C++", "=c++"),
        ("in C#", "=c#"),
        ("std::vec2", "=std::vec2"),
    ],
)
def test_identifiers_are_kept_whole_beside_their_words(text: str, kept: str) -> None:
    assert kept in tokenise(text)


@pytest.mark.parametrize(
    "text", ["Kafka RELEASE notes", "the end.", "The U.S. economy", "12 apples", "e.g. this", "well-known and/or"]
)
def test_plain_words_are_no_identifiers(text: str) -> None:
    assert not [term for term in tokenise(text) if term.startswith("=")]


def test_parts_of_a_camel_case_name_are_found_by_their_words() -> None:
    assert {"github", "git", "hub"} <= set(tokenise("GitHub"))
    assert set(tokenise("snake_case_names")) >= {"snake", "case", "name"}


def test_another_language_yields_its_own_and_the_english_stem() -> None:
    french = tokenise("les maisons", "fr")
    assert "maison" in french
    german = tokenise("Häuser", "de")
    assert "haus" in german
    assert set(tokenise("Häuser")) <= set(german)


def test_scripts_without_spaces_give_pairs() -> None:
    assert tokenise("東京大学") == ["東京", "京大", "大学"]
    assert tokenise("水") == ["水"]


def test_a_curly_apostrophe_is_a_straight_one() -> None:
    assert tokenise("don\u2019t John\u2019s") == tokenise("don't John's") == ["john"]


def test_a_word_is_found_without_its_accents() -> None:
    assert {"clé", "cle"} <= set(tokenise("clé", "fr"))
    assert set(tokenise("DEVERSOIR")) <= set(tokenise("déversoir"))
    assert set(tokenise("strasse")) <= set(tokenise("Straße"))
    assert tokenise("हिन्दी") == ["हिन्दी"]


def test_particles_do_not_hide_a_korean_word() -> None:
    assert set(tokenise("번역")) <= set(tokenise("번역을 부탁해"))


def test_a_soft_hyphen_divides_no_word() -> None:
    assert tokenise("water\u00admill") == tokenise("watermill")


def test_a_word_as_it_is_written_counts_beside_its_stem_where_it_is_asked_for_alone() -> None:
    once = weight_of("'mills", document_vector("mills and milling"))
    assert once > 0
    assert weight_of("'mills", query_vector("What is mills?")) == 1
    assert weight_of("'mills", query_vector("mills near rivers")) == pytest.approx(1 / 9)
    assert weight_of("'mill", document_vector("mills")) == 0


@pytest.mark.parametrize(
    ("text", "one"),
    [
        ("thermistorix", True),
        ("What is thermistorix?", True),
        ("What happened with ERR-52445?", False),
        ("What is ERR-52445?", True),
        ("the red mill", False),
        ("水闸控制器", False),
        ("the", False),
    ],
)
def test_a_question_of_one_word(text: str, one: bool) -> None:
    assert is_one_word(text) is one


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ERR-52445", True),
        ("2.13.4", True),
        ("b7f3e19c", True),
        ("4711-0815", True),
        ("max_poll_records", True),
        ("19th", False),
        ("3.5", False),
        ("2031-01-05", False),
        ("1990-1995", False),
        ("12:30", False),
        ("2-point", False),
        ("GitHub", False),
        ("p53", False),
    ],
)
def test_which_identifiers_name_one_thing(text: str, code: bool) -> None:
    assert any(is_code(term) for term in tokenise(text)) is code


@pytest.mark.parametrize("text", ["a-" * 20_000, "::" * 20_000 + "!", "a.b" * 20_000, "aB" * 20_000, "x_" * 20_000])
def test_a_hostile_text_yields_few_identifiers(text: str) -> None:
    assert len([term for term in tokenise(text) if term.startswith("=")]) < 2


def test_no_text_has_no_terms() -> None:
    assert tokenise("") == []
    assert query_vector("the of and").indices == ()
    assert document_vector("").indices == ()


def test_term_ids_are_stable() -> None:
    # A changed hash would orphan every point written before.
    assert term_id("broker") == 4105935481
    assert term_id("=mill-12") == 131890187


def test_term_ids_seldom_collide() -> None:
    terms = 200_000
    ids = Counter(term_id(f"term{number}") for number in range(terms))
    # Expected pairs: terms**2 / 2**33 = 4.7.
    assert terms - len(ids) < 20


def test_indices_ascend_and_are_unique() -> None:
    vector = document_vector("brokers elect leaders " * 20, "Leaders", "Guide > Brokers", ["Ada Lovelace"])
    assert list(vector.indices) == sorted(set(vector.indices))
    assert len(vector.indices) == len(vector.values)


def test_weights_follow_bm25f() -> None:
    body = "broker " * 3 + "leader " * 97
    title = "broker"
    norm = 1 - B + B * 100 / BODY_LENGTH
    title_norm = 1 - B + B * 1 / TITLE_LENGTH
    x = 3 / norm + TITLE_WEIGHT / title_norm
    assert weight_of("broker", document_vector(body, title)) == pytest.approx(x * (K1 + 1) / (K1 + x))


def test_a_repeated_term_saturates() -> None:
    once = weight_of("broker", document_vector("broker"))
    often = weight_of("broker", document_vector("broker " * 200))
    assert once < often < K1 + 1


def test_a_longer_body_weighs_its_terms_less() -> None:
    short = weight_of("broker", document_vector("broker"))
    long = weight_of("broker", document_vector("broker " + "follower " * 300))
    assert long < short


def test_authors_are_found_and_a_long_list_makes_none_of_them_less() -> None:
    alone = weight_of("ada", document_vector("x", authors=["ada"]))
    many = weight_of("ada", document_vector("x", authors=["ada", *(f"name{n}" for n in range(50))]))
    assert alone == many == pytest.approx(AUTHOR_WEIGHT * (K1 + 1) / (K1 + AUTHOR_WEIGHT))


def test_a_query_is_its_term_frequencies() -> None:
    vector = query_vector("broker brokers leader")
    assert weight_of("broker", vector) == 2
    assert weight_of("leader", vector) == 1
