import asyncio
from dataclasses import dataclass

import pytest

from infra.errors import Permanent, Transient
from infra.telemetry.metrics import REGISTRY
from schemas.dead_letters import Reason
from workers.inference.backends.backend import Faulted, NothingSaid, RequestRefused
from workers.inference.breaker import Breaker, Resting, State

DOWN = Transient("inference", "down")


@dataclass
class Said:
    heard: bool = False


class Bench:
    def __init__(self) -> None:
        self.now = 100.0
        self.breaker = Breaker("tested", failures=3, silence_s=5, rest_s=30, clock=lambda: self.now)

    def attempt(
        self, error: BaseException | None = None, *, took: float = 0.0, heard: bool = False, faulted: bool = False
    ) -> None:
        """Make an attempt that ends with `error`; an attempt that is let through raises nothing else."""
        with self.breaker.attempt(Said(heard), faulted=faulted):
            self.now += took
            if error is not None:
                raise error

    def fail(self, times: int = 1, error: BaseException = DOWN) -> None:
        for _ in range(times):
            with pytest.raises(type(error)):
                self.attempt(error)


def test_three_failures_in_a_row_open_it() -> None:
    bench = Bench()
    bench.fail(2)
    bench.attempt()
    bench.fail(2)
    assert bench.breaker.state is State.CLOSED
    bench.fail()
    assert bench.breaker.state is State.OPEN
    assert REGISTRY.get_sample_value("millrace_backend_breaker", {"backend": "tested"}) == State.OPEN
    with pytest.raises(Resting):
        bench.attempt()


def test_what_the_server_answers_with_an_error_counts_once_for_a_question() -> None:
    bench, fault = Bench(), Faulted("inference", "500")
    for question in range(3):
        assert bench.breaker.state is State.CLOSED, question
        for attempt in range(3):
            if bench.breaker.state is State.CLOSED:
                with pytest.raises(Faulted):
                    bench.attempt(fault, faulted=attempt > 0)
    assert bench.breaker.state is State.OPEN


def test_a_server_that_is_gone_counts_at_each_attempt_whatever_it_said_before() -> None:
    bench = Bench()
    for _ in range(3):
        with pytest.raises(Transient):
            bench.attempt(DOWN, faulted=True)
    assert bench.breaker.state is State.OPEN


def test_after_the_rest_one_attempt_is_let_through_and_closes_it() -> None:
    bench = Bench()
    bench.fail(3)
    bench.now += 29.9
    with pytest.raises(Resting):
        bench.attempt()
    bench.now += 0.1
    assert bench.breaker.state is State.HALF_OPEN
    with bench.breaker.attempt(Said()), pytest.raises(Resting):
        bench.attempt()  # only one at once
    assert bench.breaker.state is State.CLOSED
    bench.attempt()


def test_a_failed_probe_opens_it_anew() -> None:
    bench = Bench()
    bench.fail(3)
    bench.now += 30
    bench.fail()
    assert bench.breaker.state is State.OPEN
    bench.now += 29
    assert bench.breaker.state is State.OPEN


def test_a_probe_that_says_nothing_lets_the_next_one_probe() -> None:
    bench = Bench()
    bench.fail(3)
    bench.now += 30
    bench.fail(error=asyncio.CancelledError())
    assert bench.breaker.state is State.HALF_OPEN
    bench.attempt()
    assert bench.breaker.state is State.CLOSED


def test_a_wrong_key_is_a_failure_of_the_backend() -> None:
    bench = Bench()
    bench.fail(3, Permanent(Reason.REFUSED_BY_SINK, "401"))
    assert bench.breaker.state is State.OPEN


@pytest.mark.parametrize("sign", [RequestRefused("request_rejected", "400"), NothingSaid("inference", "empty")])
def test_a_refusal_and_an_empty_answer_show_that_the_backend_answers(sign: Exception) -> None:
    bench = Bench()
    bench.fail(2)
    bench.fail(10, sign)
    bench.fail(2)
    assert bench.breaker.state is State.CLOSED


@pytest.mark.parametrize(
    ("took", "heard", "opens"), [(5.0, False, True), (4.9, False, False), (60.0, True, False)], ids=str
)
def test_giving_up_after_silence_is_a_failure(took: float, heard: bool, opens: bool) -> None:
    bench = Bench()
    for _ in range(3):
        with pytest.raises(asyncio.CancelledError):
            bench.attempt(asyncio.CancelledError(), took=took, heard=heard)
    assert (bench.breaker.state is State.OPEN) == opens


def test_a_bug_of_ours_judges_nobody() -> None:
    bench = Bench()
    bench.fail(5, ZeroDivisionError())
    assert bench.breaker.state is State.CLOSED
