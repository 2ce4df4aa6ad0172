import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from infra.errors import Permanent, Transient
from schemas.chat import ChatPrompt, Generation, ReplyError
from schemas.dead_letters import Reason
from tests.chats import passage, prompt
from tests.clocks import skipping
from workers.inference.answer import (
    BACKEND_REFUSED,
    BACKEND_UNAVAILABLE,
    DEADLINE_PASSED,
    UNKNOWN_MODEL,
    Answerer,
    Outcome,
)
from workers.inference.backends.backend import Answer, RequestRefused, Say, silently
from workers.inference.settings import InferenceSettings

ANSWER = Answer("Weekly. [1]")
DOWN = Transient("inference", "ConnectError")
WRONG_KEY = Permanent(Reason.REFUSED_BY_SINK, "401")


class Scripted:
    """A backend that does what it is told, call by call; the last step repeats."""

    writes = True

    def __init__(
        self,
        *steps: Answer | Exception | Callable[[], object],
        name: str = "scripted",
        model: str = "m1",
        adapters: Sequence[str] = (),
        listing: Transient | Permanent | None = None,
    ) -> None:
        self.adapters = adapters
        self.listing = listing
        self.name, self.model = name, model
        self.steps = steps
        self.calls = 0
        self.at_once = 0
        self.most_at_once = 0
        self.closed = False

    async def serves(self, model: str) -> bool:
        if self.listing is not None:
            raise self.listing
        return model in (self.name, self.model, *self.adapters)

    async def names(self) -> frozenset[str]:
        if self.listing is not None:
            raise self.listing
        return frozenset({self.model, *self.adapters})

    async def answer(self, prompt: ChatPrompt, say: Say = silently) -> Answer:
        step = self.steps[min(self.calls, len(self.steps) - 1)]
        self.calls += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if callable(step):
                await asyncio.Event().wait() if step is never else await asyncio.sleep(0)
                return ANSWER
            if isinstance(step, Exception):
                raise step
            return step
        finally:
            self.at_once -= 1

    async def close(self) -> None:
        self.closed = True


def never() -> None:
    """Step: no answer ever comes."""


def soon() -> None:
    """Step: an answer after a turn of the loop."""


def answerer(*backends: Scripted, **settings: object) -> Answerer:
    return Answerer(backends, InferenceSettings.model_validate(settings))


def code_of(outcome: Outcome) -> str:
    assert isinstance(outcome.result, ReplyError)
    return outcome.result.code


async def test_the_default_backend_answers() -> None:
    first, second = Scripted(ANSWER, name="a"), Scripted(ANSWER, name="b")
    for model in ("", "default", "millrace"):
        outcome = await answerer(first, second).outcome(prompt(model=model))
        assert outcome == Outcome(ANSWER, "m1", "a")
    assert second.calls == 0


@pytest.mark.parametrize("model", ["b", "m2"])
async def test_a_request_may_name_a_backend_or_its_model(model: str) -> None:
    backends = Scripted(ANSWER, name="a"), Scripted(ANSWER, name="b", model="m2")
    assert (await answerer(*backends).outcome(prompt(model=model))).served_by == "b"


async def test_an_unknown_model_is_said_and_nobody_is_asked() -> None:
    backend = Scripted(ANSWER)
    assert code_of(await answerer(backend).outcome(prompt(model="gpt-9"))) == UNKNOWN_MODEL
    assert backend.calls == 0


class Quoting(Scripted):
    writes = False


async def test_a_quotation_stands_in_only_where_there_is_something_to_quote_and_no_form_to_keep() -> None:
    for fields, stands_in in (
        ({"passages": [passage()]}, True),
        ({}, False),
        ({"passages": [passage()], "retrieve": False}, False),
        ({"passages": [passage()], "generation": Generation(response_format={"type": "json_object"})}, False),
    ):
        quoting = Quoting(ANSWER, name="q")
        await answerer(Scripted(DOWN, name="a"), quoting, INFERENCE_ATTEMPTS=1).outcome(prompt(**fields))  # type: ignore[arg-type]
        assert quoting.calls == stands_in


async def test_a_request_at_fault_is_told_and_nobody_stands_in() -> None:
    second = Scripted(ANSWER, name="b")
    refusing = Scripted(RequestRefused("context_length_exceeded", "too long"), name="a")
    for _ in range(5):
        outcome = await answerer(refusing, second).outcome(prompt(passages=[passage()]))
        assert code_of(outcome) == "context_length_exceeded"
    assert second.calls == 0


async def test_a_short_deadline_leaves_time_for_the_backend_that_is_meant() -> None:
    first, second = Scripted(soon, name="a"), Scripted(ANSWER, name="b")
    assert (await answerer(first, second).outcome(prompt(within=timedelta(seconds=0.5)))).served_by == "a"


async def test_another_models_abstention_counts() -> None:
    said = Answer("The sources do not answer this.", abstained=True)
    outcome = await answerer(Scripted(DOWN, name="a"), Scripted(said, name="b"), INFERENCE_ATTEMPTS=1).outcome(prompt())
    assert (outcome.result, outcome.served_by, outcome.degraded) == (said, "b", True)


@pytest.mark.parametrize("listing", [DOWN, WRONG_KEY], ids=str)
async def test_who_does_not_know_its_models_is_asked_last_and_holds_up_nobody(listing: Transient | Permanent) -> None:
    unsure = Scripted(ANSWER, name="a", listing=listing)
    assert (await answerer(unsure, Scripted(ANSWER, name="b", model="m2")).outcome(prompt(model="m2"))).served_by == "b"
    listed = Scripted(ANSWER, name="b", adapters=("lora",))
    assert (await answerer(unsure, listed).outcome(prompt(model="lora"))).served_by == "b"
    assert code_of(await answerer(unsure, Scripted(ANSWER, name="b")).outcome(prompt(model="x"))) == BACKEND_UNAVAILABLE


async def test_expired_work_is_skipped() -> None:
    backend = Scripted(ANSWER)
    assert code_of(await answerer(backend).outcome(prompt(within=timedelta(seconds=-1)))) == DEADLINE_PASSED
    assert backend.calls == 0


async def test_a_backend_that_never_answers_is_left_before_the_deadline() -> None:
    loop, asked = asyncio.get_running_loop(), prompt(within=timedelta(seconds=60))
    with skipping():
        started = loop.time()
        outcome = await answerer(Scripted(never)).outcome(asked)
        left_at = loop.time() - started
    assert code_of(outcome) == DEADLINE_PASSED
    assert 20 < left_at < 60, "not in time for its reply to be told"


async def test_a_passing_failure_is_tried_again() -> None:
    backend = Scripted(DOWN, ANSWER)
    assert (await answerer(backend).outcome(prompt())).result == ANSWER
    assert backend.calls == 2


async def test_a_lasting_failure_ends_as_unavailable() -> None:
    backend = Scripted(DOWN)
    assert code_of(await answerer(backend, INFERENCE_ATTEMPTS=2).outcome(prompt())) == BACKEND_UNAVAILABLE
    assert backend.calls == 2


async def test_a_server_that_asks_to_wait_beyond_the_deadline_is_not_waited_for() -> None:
    backend = Scripted(Transient("inference", "429", retry_after=3_600))
    assert code_of(await answerer(backend).outcome(prompt())) == BACKEND_UNAVAILABLE
    assert backend.calls == 1


async def test_a_server_that_asks_to_wait_a_little_is_waited_for() -> None:
    backend = Scripted(Transient("inference", "429", retry_after=0.05), ANSWER)
    assert (await answerer(backend).outcome(prompt())).result == ANSWER


async def test_a_refusal_is_not_tried_again() -> None:
    backend = Scripted(WRONG_KEY)
    outcome = await answerer(backend).outcome(prompt())
    assert code_of(outcome) == BACKEND_REFUSED
    assert backend.calls == 1
    assert isinstance(outcome.result, ReplyError)
    assert "401" not in outcome.result.detail


async def test_no_more_than_the_setting_are_answered_at_once() -> None:
    backend = Scripted(soon)
    busy = answerer(backend, INFERENCE_CONCURRENCY=2)
    await asyncio.gather(*(busy.outcome(prompt(f"Question {n}?")) for n in range(8)))
    assert backend.calls == 8
    assert backend.most_at_once == 2


async def test_waiting_for_a_place_counts_against_the_deadline() -> None:
    busy = answerer(Scripted(never), INFERENCE_CONCURRENCY=1)
    outcomes: Sequence[Outcome] = await asyncio.gather(
        busy.outcome(prompt(within=timedelta(seconds=0.6))), busy.outcome(prompt(within=timedelta(seconds=0.3)))
    )
    assert [code_of(outcome) for outcome in outcomes] == [DEADLINE_PASSED, DEADLINE_PASSED]


async def test_a_fault_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        await answerer(Scripted(ZeroDivisionError())).outcome(prompt())


async def test_all_backends_are_closed() -> None:
    backends = Scripted(ANSWER), Scripted(ANSWER)
    await answerer(*backends).close()
    assert all(backend.closed for backend in backends)
    with pytest.raises(ValueError, match="at least one"):
        answerer()
