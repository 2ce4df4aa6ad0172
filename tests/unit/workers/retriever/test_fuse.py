import pytest

from workers.retriever.fuse import fuse


def test_scores_are_shared_out_by_hand_computed_numbers() -> None:
    dense = {"a": 0.8, "b": 0.4}
    sparse = {"b": 10.0, "c": 5.0}
    ranked = fuse(dense, sparse)
    # a: .5 * 1 + .5 * lowest sparse (5/10); b: .5 * .5 + .5 * 1; c: .5 * lowest dense (.4/.8) + .5 * .5
    assert [(one.point, round(one.score, 6)) for one in ranked] == [("a", 0.75), ("b", 0.75), ("c", 0.5)]
    assert [one.cosine for one in ranked] == [0.8, 0.4, 0.0]


def test_a_named_author_lifts_a_candidate() -> None:
    dense = {"a": 0.8, "b": 0.75}
    ranked = fuse(dense, {}, by_named_author={"b"})
    assert [one.point for one in ranked] == ["b", "a"]
    assert ranked[0].score == pytest.approx(0.5 * 0.75 / 0.8 + 0.1)


def test_weights_are_settings() -> None:
    ranked = fuse({"a": 1.0}, {"b": 3.0}, dense_weight=1.0)
    assert ranked[0].score == pytest.approx(1.0)
    assert fuse({"a": 1.0, "b": 0.1}, {"b": 3.0, "a": 0.3}, dense_weight=0.0)[0].point == "b"


def test_an_empty_list_says_nothing() -> None:
    assert fuse({}, {}) == []
    assert [one.score for one in fuse({}, {"a": 4.0, "b": 1.0})] == [0.5, 0.125]


def test_negative_cosines_do_not_turn_the_order_round() -> None:
    ranked = fuse({"a": -0.1, "b": -0.9}, {"b": 2.0})
    assert ranked[0].point in {"a", "b"}
    assert all(0 <= one.score <= 1 for one in ranked)
    assert fuse({"a": 0.5, "b": -0.9}, {})[-1].score == 0.0


def test_ties_are_settled_the_same_way_everywhere() -> None:
    forward = fuse({"a": 0.5, "b": 0.5, "c": 0.5}, {})
    backward = fuse({"c": 0.5, "b": 0.5, "a": 0.5}, {})
    assert forward == backward
