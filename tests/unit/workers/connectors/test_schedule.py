from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.connectors.schedule import (
    DEFAULT_INTERVAL_S,
    MAX_BACKOFF_S,
    MAX_INTERVAL_S,
    MIN_INTERVAL_S,
    interval_of,
    wait_after,
)


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        ({}, DEFAULT_INTERVAL_S),
        ({"interval_s": 60}, 60),
        ({"interval_s": 0}, MIN_INTERVAL_S),
        ({"interval_s": -5}, MIN_INTERVAL_S),
        ({"interval_s": 10**9}, MAX_INTERVAL_S),
        ({"interval_s": "60"}, DEFAULT_INTERVAL_S),
        ({"interval_s": True}, DEFAULT_INTERVAL_S),
        (None, DEFAULT_INTERVAL_S),
    ],
)
def test_interval(config: object, seconds: float) -> None:
    assert interval_of(config) == seconds


def test_failures_double_the_wait_up_to_a_limit() -> None:
    waits = [wait_after(900, failures, 0.5) for failures in range(8)]
    assert waits[:3] == [timedelta(seconds=seconds) for seconds in (900, 1_800, 3_600)]
    assert waits[-1] == timedelta(seconds=MAX_BACKOFF_S)
    assert wait_after(86_400, 3, 0.5) == timedelta(days=1), "a long interval is not shortened by a failure"


def test_a_server_may_ask_for_longer() -> None:
    assert wait_after(60, 1, 0.5, retry_after=4_000) == timedelta(seconds=4_000)
    assert wait_after(60, 1, 0.5, retry_after=1) == timedelta(seconds=120)
    assert wait_after(60, 1, 0.5, retry_after=10**12) == timedelta(seconds=MAX_INTERVAL_S)


@given(st.floats(5, 600_000), st.integers(0, 10**6), st.floats(0, 1))
def test_the_wait_is_spread_by_a_tenth(interval: float, failures: int, chance: float) -> None:
    middle = wait_after(interval, failures, 0.5)
    assert middle * 0.89 <= wait_after(interval, failures, chance) <= middle * 1.11
