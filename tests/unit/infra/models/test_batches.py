import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.models.batches import by_length


@given(st.lists(st.integers(1, 256), max_size=200), st.integers(1, 2_000))
def test_every_text_is_in_one_batch_and_no_batch_is_over_budget(lengths: list[int], budget: int) -> None:
    batches = by_length(lengths, budget)
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[position] for position in batch) <= budget


def test_texts_of_like_length_share_a_batch() -> None:
    assert by_length([200, 10, 190, 12], 400) == [[1, 3], [2, 0]]


def test_a_budget_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        by_length([1], 0)
