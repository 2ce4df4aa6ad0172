import pytest

from infra.errors import Permanent, Transient
from infra.kafka.outcomes import HANDLER_ATTEMPTS, Dead, Retry, judge
from infra.kafka.retry import Backoff
from schemas.dead_letters import Reason

BACKOFF = Backoff(first_s=1, cap_s=8)


@pytest.mark.parametrize("attempt", [1, 2, 50, 5_000])
def test_a_dependency_that_is_down_is_waited_for_however_long(attempt: int) -> None:
    outcome = judge(Transient("qdrant", "refused"), attempt, BACKOFF)
    assert isinstance(outcome, Retry)
    assert outcome.dependency == "qdrant"
    assert 0 < outcome.delay_s <= 8


def test_a_dependency_may_ask_for_a_wait_but_not_beyond_the_cap() -> None:
    assert judge(Transient("http", "busy", retry_after=3), 1, BACKOFF) == Retry(3, "http", "busy")
    assert judge(Transient("http", "busy", retry_after=3_600), 1, BACKOFF) == Retry(8, "http", "busy")


def test_a_permanent_failure_is_dead_at_once() -> None:
    assert judge(Permanent(Reason.INVALID_JSON, "no"), 1, BACKOFF) == Dead(Reason.INVALID_JSON, "no")


def test_an_unclassed_error_is_tried_again_and_then_dead_without_its_message() -> None:
    error = ValueError("the password is hunter2")
    assert isinstance(judge(error, HANDLER_ATTEMPTS - 1, BACKOFF), Retry)
    outcome = judge(error, HANDLER_ATTEMPTS, BACKOFF)
    assert isinstance(outcome, Dead)
    assert outcome.reason is Reason.HANDLER_ERROR
    assert "hunter2" not in outcome.detail


def test_delays_grow_to_the_cap_and_never_vanish() -> None:
    for attempt in range(1, 2_000, 7):
        ceiling = min(8, 2 ** min(attempt - 1, 60))
        assert ceiling / 2 <= BACKOFF.delay(attempt) <= ceiling


@pytest.mark.parametrize("numbers", [{"first_s": 0}, {"first_s": 2, "cap_s": 1}, {"factor": 0.5}])
def test_a_senseless_backoff_is_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="back-off"):
        Backoff(**numbers)
