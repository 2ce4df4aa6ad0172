"""Ids that say where their replies are, and to whom."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.request_ids import MAX_PARTITIONS, RequestIds

AT = datetime(2026, 3, 14, 9, 26, 53, 589_000, UTC)
IDS = RequestIds("new, old")


@given(st.integers(0, MAX_PARTITIONS - 1), st.integers(0, 6 * 365 * 86_400_000))
def test_an_id_tells_what_it_was_made_of(partition: int, later_ms: int) -> None:
    at = AT + timedelta(milliseconds=later_ms)
    made = IDS.issue("acme", partition, at)
    assert (made.version, made.variant) == (8, "specified in RFC 4122")
    issued = IDS.read("acme", made)
    assert issued is not None
    assert issued.partition == partition
    assert abs(issued.at - at) <= timedelta(milliseconds=1)


def test_no_two_are_alike() -> None:
    assert len({IDS.issue("acme", 3, AT) for _ in range(1000)}) == 1000


def test_an_id_is_its_workspaces_only() -> None:
    assert IDS.read("globex", IDS.issue("acme", 3, AT)) is None


@pytest.mark.parametrize("bit", [0, 31, 33, 61, 64, 80, 127])
def test_a_changed_id_is_nobodys(bit: int) -> None:
    made = IDS.issue("acme", 3, AT)
    assert IDS.read("acme", UUID(int=made.int ^ 1 << bit)) is None


def test_other_ids_tell_nothing() -> None:
    assert IDS.read("acme", uuid4()) is None


def test_a_rotated_key_still_reads_what_it_made() -> None:
    assert IDS.read("acme", RequestIds("old").issue("acme", 3, AT)) is not None
    assert RequestIds("old").read("acme", IDS.issue("acme", 3, AT)) is None
    assert RequestIds("third").read("acme", IDS.issue("acme", 3, AT)) is None


@pytest.mark.parametrize("partition", [-1, MAX_PARTITIONS])
def test_a_partition_beyond_its_room_is_refused(partition: int) -> None:
    with pytest.raises(ValueError, match="partition"):
        IDS.issue("acme", partition, AT)


def test_there_is_no_id_without_a_key() -> None:
    with pytest.raises(ValueError, match="key"):
        RequestIds(" , ")
