from collections import Counter

import pytest

from infra.models.sparse import (
    AUTHOR_WEIGHT,
    BODY_LENGTH,
    K1,
    TITLE_LENGTH,
    TITLE_WEIGHT,
    B,
    SparseTerms,
    document_vector,
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
    ],
)
def test_identifiers_are_kept_whole_beside_their_words(text: str, kept: str) -> None:
    assert kept in tokenise(text)


@pytest.mark.parametrize("text", ["Kafka RELEASE notes", "the end.", "The U.S. economy", "12 apples", "e.g. this"])
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
