import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.kafka.progress import Progress


def test_nothing_is_committable_before_the_first_record_is_finished() -> None:
    progress = Progress()
    progress.start(5)
    assert progress.committable is None


def test_a_finished_record_behind_an_unfinished_one_is_not_committable() -> None:
    progress = Progress()
    for offset in (5, 6, 7):
        progress.start(offset)
    progress.finish(6)
    assert progress.committable is None
    progress.finish(5)
    assert progress.committable == 7
    assert progress.unfinished == 1


def test_gaps_of_a_compacted_topic_are_no_obstacle() -> None:
    progress = Progress()
    for offset in (3, 40, 900):
        progress.start(offset)
        progress.finish(offset)
    assert progress.committable == 901


def test_a_jump_back_is_refused() -> None:
    progress = Progress()
    progress.start(5)
    with pytest.raises(ValueError, match="offset 5"):
        progress.start(5)


@given(st.sets(st.integers(0, 10_000), min_size=1, max_size=60), st.randoms(use_true_random=False), st.data())
def test_a_commit_never_covers_an_unfinished_record(offsets: set[int], random: object, data: st.DataObject) -> None:
    progress = Progress()
    for offset in sorted(offsets):
        progress.start(offset)
    unfinished = set(offsets)
    order = data.draw(st.permutations(sorted(offsets)))
    while order:
        together = data.draw(st.integers(1, 5))
        group, order = order[:together], order[together:]
        progress.finish_all(group)
        unfinished.difference_update(group)
        assert progress.unfinished == len(unfinished)
        if progress.committable is not None:
            assert all(other >= progress.committable for other in unfinished)
    assert progress.committable == max(offsets) + 1
