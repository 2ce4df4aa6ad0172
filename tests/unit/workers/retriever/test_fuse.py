import pytest

from workers.retriever.fuse import fuse


def test_scores_are_shared_out_by_hand_computed_numbers() -> None:
    dense = {"a": 0.8, "b": 0.4}
    sparse = {"b": 10.0, "c": 5.0}
    ranked = fuse(dense, sparse, limit=2)
    # a: .5 * 1 + .5 * lowest sparse (5/10); b: .5 * .5 + .5 * 1; c: .5 * lowest dense (.4/.8) + .5 * .5
    assert [(one.point, round(one.score, 6)) for one in ranked] == [("b", 0.75), ("a", 0.75), ("c", 0.5)]
    assert [one.cosine for one in ranked] == [0.4, 0.8, 0.0]


def test_a_named_author_lifts_a_candidate() -> None:
    dense = {"a": 0.8, "b": 0.75}
    ranked = fuse(dense, {}, limit=100, by_named_author={"b"})
    assert [one.point for one in ranked] == ["b", "a"]
    assert ranked[0].score == pytest.approx(0.5 * 0.75 / 0.8 + 0.1)


def test_weights_are_settings() -> None:
    ranked = fuse({"a": 1.0}, {"b": 3.0}, limit=100, dense_weight=1.0)
    assert ranked[0].score == pytest.approx(1.0)
    assert fuse({"a": 1.0, "b": 0.1}, {"b": 3.0, "a": 0.3}, limit=100, dense_weight=0.0)[0].point == "b"


def test_an_empty_list_says_nothing() -> None:
    assert fuse({}, {}, limit=100) == []
    assert [one.score for one in fuse({}, {"a": 4.0, "b": 1.0}, limit=100)] == [0.5, 0.125]


def test_negative_cosines_do_not_turn_the_order_round() -> None:
    ranked = fuse({"a": -0.1, "b": -0.9}, {"b": 2.0}, limit=2)
    assert ranked[0].point in {"a", "b"}
    assert all(0 <= one.score <= 1 for one in ranked)
    assert fuse({"a": 0.5, "b": -0.9}, {}, limit=2)[-1].score == 0.0


def test_ties_are_settled_the_same_way_everywhere() -> None:
    forward = fuse({"a": 0.5, "b": 0.5, "c": 0.5}, {}, limit=3)
    backward = fuse({"c": 0.5, "b": 0.5, "a": 0.5}, {}, limit=3)
    assert forward == backward


def test_what_a_list_that_was_not_cut_leaves_out_has_nothing_of_it() -> None:
    # "b" alone holds the word that was searched for; "a" and "c" are only alike.
    dense = {"a": 0.5, "b": 0.2, "c": 0.4}
    ranked = fuse(dense, {"b": 7.0}, limit=3)
    assert [one.point for one in ranked] == ["b", "a", "c"]
    assert [round(one.score, 6) for one in ranked] == [0.7, 0.5, 0.4]


def test_a_cut_list_gives_its_lowest_to_what_it_leaves_out() -> None:
    ranked = fuse({"a": 0.5}, {"b": 8.0, "c": 6.0}, limit=2)
    assert {one.point: one.score for one in ranked}["a"] == pytest.approx(0.5 + 0.5 * 6 / 8)


def test_one_who_alone_holds_the_words_is_before_one_who_is_most_alike() -> None:
    # Both have half of all there is: evidence of the words settles it.
    assert [one.point for one in fuse({"a": 0.9}, {"b": 3.0}, limit=100)] == ["b", "a"]
