import pytest

from infra.neo4j.schema import KEY_LIMIT, NAME_LIMIT, fold, node_id, place_of, tail_of


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://Example.org/A/", "w/https://example.org/A"),
        ("HTTPS://example.org:443/a?b=1", "w/https://example.org/a?b=1"),
        ("http://example.org:8080", "w/http://example.org:8080"),
        ("https://example.org/a#c", "w/https://example.org/a#c"),
        ("http://[::1]:80/x", "w/http://[::1]/x"),
        (" https://example.org ", "w/https://example.org"),
        ("mailto:a@example.org", None),
        ("/relative", None),
        ("https://", None),
        ("http://[broken", None),
        ("http://example.org:port/", None),
        ("https://example.org/" + "x" * KEY_LIMIT, None),
        ("", None),
    ],
)
def test_two_spellings_of_an_address_meet(url: str, place: str | None) -> None:
    assert place_of("w", url) == place


def test_a_node_belongs_to_its_workspace() -> None:
    assert node_id("a", "person:x:1") == "a/person:x:1"
    assert node_id("b", "person:x:1") != node_id("a", "person:x:1")


def test_a_huge_key_still_has_an_identity_of_its_own() -> None:
    one, two = node_id("a", "x" * 20_000), node_id("a", "x" * 20_001)
    assert one != two
    assert len(one) < 100


def test_names_fold() -> None:
    assert fold("  Straße  Nord\n") == "strasse nord"
    assert len(fold("x" * 10_000)) == NAME_LIMIT
    assert tail_of("person:github:OctoCat") == "octocat"
    assert tail_of("issue:github:o/r#1:a") == "o/r#1:a"
    assert tail_of("bare") == "bare"
