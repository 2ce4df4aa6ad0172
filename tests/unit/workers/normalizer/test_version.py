from datetime import UTC, datetime, timedelta
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from schemas.event import MAX_VERSION
from workers.normalizer.sources.draft import Numbered, Revised, Unrevised
from workers.normalizer.version import unrevised, user_deletion, version_of

DAY = datetime(2024, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
OFFSETS = st.integers(0, 2**40)


@given(st.datetimes(timezones=st.just(UTC)), OFFSETS, st.booleans())
def test_versions_are_positive_and_exact_in_a_float(at: datetime, offset: int, ended: bool) -> None:
    version = version_of(Revised(at), offset, ended=ended)
    assert 1 <= version <= MAX_VERSION
    assert int(float(version)) == version


@given(OFFSETS, OFFSETS)
def test_a_later_second_wins_whatever_the_order_of_arrival(first: int, second: int) -> None:
    assert version_of(Revised(DAY + SECOND), first) > version_of(Revised(DAY), second)


def test_within_a_second_arrival_decides() -> None:
    assert version_of(Revised(DAY), 11) > version_of(Revised(DAY), 10)


def test_the_years_of_the_first_repositories_are_told_apart() -> None:
    early = datetime(2008, 2, 1, tzinfo=UTC)
    assert version_of(Revised(early + SECOND), 1) > version_of(Revised(early), 2)


def test_an_exact_revision_is_the_same_state_wherever_it_arrives() -> None:
    assert version_of(Revised(DAY, exact=True), 1) == version_of(Revised(DAY, exact=True), 99)


def test_a_final_deletion_beats_every_state_of_its_second_in_any_order() -> None:
    states = [(Revised(DAY - SECOND), False), (Revised(DAY), False), (Revised(DAY), True)]
    for order in permutations(range(3)):
        versions = {position: version_of(states[position][0], offset, ended=states[position][1])
                    for offset, position in enumerate(order)}  # fmt: skip
        assert max(versions, key=lambda position: versions[position]) == 2


def test_a_senders_number_is_used_as_it_is() -> None:
    assert version_of(Numbered(41), 7) == 41


@given(OFFSETS)
def test_arrival_counts_where_nothing_else_is_known(offset: int) -> None:
    assert version_of(Unrevised(), offset + 1) > version_of(Unrevised(), offset) >= 1


@given(st.integers(0, 2**40), st.integers(1, 2**40), st.integers(1, 2**40))
def test_upload_delete_upload_within_one_partition(first: int, later: int, latest: int) -> None:
    upload = unrevised(first)
    deletion = user_deletion(upload, first + later, ordered=True)
    again = unrevised(first + later + latest)
    assert upload < deletion < again


def test_a_deletion_covers_an_upload_that_the_user_had_not_seen() -> None:
    seen, unseen = unrevised(3), unrevised(4)
    assert user_deletion(seen, 5, ordered=True) > unseen


@given(st.integers(0, 2**40), OFFSETS)
def test_a_deletion_from_another_partition_neither_hides_nor_meets_the_next_delivery(
    offset: int, elsewhere: int
) -> None:
    deletion = user_deletion(unrevised(offset), elsewhere, ordered=False)
    assert unrevised(offset) < deletion < unrevised(offset + 1)


def test_a_deletion_of_a_revised_document_takes_the_next_number() -> None:
    version = version_of(Revised(DAY), 5)
    assert user_deletion(version, 10, ordered=True) == version + 1
    assert user_deletion(MAX_VERSION, 10, ordered=False) == MAX_VERSION
    assert user_deletion(None, 10, ordered=False) == unrevised(10)
