"""Gets an answer from the backends before the deadline, or says why there is none."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from time import monotonic

import stamina

from infra.errors import Permanent, Transient
from infra.queueing.cancels import AskerGone, Cancels
from infra.queueing.slots import Hold, Meters, NoTurnError, Slots
from infra.redis.load import Load
from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, count
from schemas.chat import ChatPrompt, ReplyError
from schemas.event import now
from workers.inference.backends.backend import Answer, Backend, Faulted, NothingSaid, RequestRefused
from workers.inference.breaker import Resting
from workers.inference.cite import citations_in, named
from workers.inference.earlier import Earlier
from workers.inference.embed import LateVectors
from workers.inference.fleet import Fleet, Member, environments, using
from workers.inference.intent import Reading, packaged
from workers.inference.measure import label_of, measured
from workers.inference.outcome import Outcome
from workers.inference.router import DEFAULT_NAMES, Plan, Step, plan
from workers.inference.routing import Routing
from workers.inference.settings import InferenceSettings
from workers.inference.telling import Diverged, Telling

DEADLINE_PASSED = "deadline_passed"
BACKEND_UNAVAILABLE = "backend_unavailable"
BACKEND_REFUSED = "backend_refused"
UNKNOWN_MODEL = "unknown_model"
CANCELLED = "cancelled"

NOBODY = "none"
"""Stands in `served_by` where no backend answered and the reply only says what was found."""
FROM_BEFORE = "cache"
"""Stands in `served_by` of an earlier answer."""
LONGEST_RETRY_AFTER_S = 5.0
"""A busy server that asks to wait longer is not waited for: the slot would stand idle."""

METERS = Meters(Metric.INFERENCE_WAITED_SECONDS, Metric.INFERENCE_QUEUE_DEPTH, Metric.INFERENCE_ESTIMATED_WAIT_SECONDS)

log = logger(__name__)


class Answerer:
    """Answers with the fleet of this process; its first is the default, and each is stood in for by others."""

    def __init__(
        self,
        backends: Sequence[Backend],
        settings: InferenceSettings,
        cancels: Cancels | None = None,
        vectors: LateVectors | None = None,
        earlier: Earlier | None = None,
    ) -> None:
        if not backends:
            raise ValueError("an answerer has at least one backend")
        self.fleet = Fleet(environments(backends, settings), Routing())
        self._settings = settings
        self._slots = Slots(settings.concurrency, METERS, settings.weights)
        self._cancels = Cancels(settings.cancels_remembered_s) if cancels is None else cancels
        self._vectors = vectors
        self._earlier = earlier

    async def adopt(self, fleet: Fleet) -> None:
        """Answer with `fleet` from now on; return when who is no longer in it has ended its last answer."""
        earlier, self.fleet = self.fleet, fleet
        await asyncio.gather(*(member.close() for member in earlier.replaced_by(fleet)))

    def load(self) -> Load:
        """Return how busy this process is."""
        return self._slots.load()

    async def outcome(self, prompt: ChatPrompt, telling: Telling | None = None) -> Outcome:
        """Return what is to be replied; `telling` hears it as it is written, and all of it before the return.

        Raises nothing that a backend raises: the asker hears of it instead.
        """
        telling = telling or Telling()
        started = monotonic()
        try:
            async with self._cancels.heeded(prompt.request.workspace, prompt.request.request_id):
                outcome = await self._in_turn(prompt, telling)
        except AskerGone:
            outcome = Outcome(ReplyError(code=CANCELLED, detail="the question was cancelled by its asker"))
        if isinstance(outcome.result, Answer):
            telling.complete(outcome.result.text)
        count(Metric.ANSWERS_TOTAL, outcome.served_by or NOBODY, label_of(outcome.result))
        measured(outcome, monotonic() - started)
        return outcome

    async def _in_turn(self, prompt: ChatPrompt, telling: Telling) -> Outcome:
        left = (prompt.request.deadline - now()).total_seconds()
        if left <= 0:
            return _failed(DEADLINE_PASSED, "the deadline had passed before an answer was begun")
        ends_at = asyncio.get_running_loop().time() + max(left - self._settings.reply_margin_s, left / 2)
        try:
            planned = await plan(self.fleet, prompt, await self._read(prompt))
        except (Transient, Permanent) as error:
            log.warning("the models served are not known", cause=error.detail)
            return _failed(BACKEND_UNAVAILABLE, "the model server cannot be asked for its models now")
        if not planned.wanted:
            outcome = _failed(UNKNOWN_MODEL, f"no backend serves the model {prompt.request.model[:80]!r}")
        else:
            with using(step.member for step in planned.steps):
                outcome = await self._planned(planned, prompt, telling, ends_at)
        return replace(outcome, intent=planned.intent, wanted=planned.wanted, wanted_model=planned.model)

    async def _read(self, prompt: ChatPrompt) -> Reading:
        """Return what kind of question it is; where that decides, and nobody has said it, by a vector of our own."""
        request = prompt.request
        decides = request.model in DEFAULT_NAMES and self.fleet.routing.tells_apart(request.workspace)
        if decides and request.intent is None and not prompt.question_vector and self._vectors is not None:
            prompt = await self._vectors.embedded(prompt)
        return packaged().read(prompt)

    async def _planned(self, planned: Plan, prompt: ChatPrompt, telling: Telling, ends_at: float) -> Outcome:
        request = prompt.request
        first: Member | None = planned.steps[0].member if planned.steps else None
        lane, limit = (first.name, first.limit) if first is not None else ("", None)
        queued_at, left = request.accepted_at.timestamp(), ends_at - asyncio.get_running_loop().time()
        try:
            async with self._slots.slot(request.workspace, queued_at, lane, limit, within_s=left) as hold:
                return await self._from(planned, prompt, telling, ends_at, hold)
        except NoTurnError:
            return _failed(DEADLINE_PASSED, "the deadline passed while the question waited for its turn")

    async def _from(self, planned: Plan, prompt: ChatPrompt, telling: Telling, ends_at: float, hold: Hold) -> Outcome:
        failures: list[ReplyError] = []
        looked_back = False
        for step in planned.steps:
            backend = step.member.backend
            if failures and not backend.writes and not looked_back:
                looked_back = True
                if (outcome := await self._said_before(planned, prompt, ends_at)) is not None:
                    return outcome
            left = ends_at - asyncio.get_running_loop().time()
            reserve = min(self._settings.fallback_reserve_s, left / 4) if step is not planned.steps[-1] else 0.0
            try:
                result = await self._asked(step, prompt, telling, ends_at - reserve, hold)
            except RequestRefused as refused:
                return Outcome(ReplyError(code=refused.code, detail=refused.detail), backend.model, backend.name)
            # That the model is away must not be told as "the sources do not answer".
            if isinstance(result, Answer) and (backend.writes or not step.stands_in or not result.abstained):
                if step.stands_in:
                    count(Metric.FALLBACKS_TOTAL, planned.wanted, backend.name)
                if self._earlier is not None:
                    self._earlier.keep(prompt, step, result)
                return Outcome(result, result.model or backend.model, backend.name, degraded=step.stands_in)
            if telling.said:
                return _broken_off(backend, prompt, telling, result)
            if isinstance(result, ReplyError):
                failures.append(result)
        if not looked_back and (outcome := await self._said_before(planned, prompt, ends_at)) is not None:
            return outcome
        return _unanswered(planned, prompt, failures)

    async def _said_before(self, planned: Plan, prompt: ChatPrompt, ends_at: float) -> Outcome | None:
        """Return an earlier answer to nearly the same question, if one may stand in."""
        if self._earlier is None:
            return None
        try:
            async with asyncio.timeout_at(ends_at):
                found = await self._earlier.find(prompt, planned.steps)
        except TimeoutError:
            return None
        if found is None:
            return None
        count(Metric.FALLBACKS_TOTAL, planned.wanted, FROM_BEFORE)
        return Outcome(found.answer, found.model, FROM_BEFORE, degraded=True)

    async def _asked(
        self, step: Step, prompt: ChatPrompt, telling: Telling, until: float, hold: Hold
    ) -> Answer | ReplyError:
        """Ask one backend until the loop's time `until`. Raises RequestRefused."""
        backend = step.member.backend
        try:
            async with asyncio.timeout_at(until):
                await hold.move(step.member.name, step.member.limit)
                left = until - asyncio.get_running_loop().time()
                return await self._tried(step.member, step.addressed(prompt), telling, left)
        except TimeoutError:
            return ReplyError(code=DEADLINE_PASSED, detail=f"{backend.name} gave no answer before the deadline")
        except (Transient, Resting, Diverged) as error:
            if not isinstance(error, Resting):
                log.warning("a backend is unavailable", backend=backend.name, cause=str(error) or "another answer")
            return ReplyError(code=BACKEND_UNAVAILABLE, detail=f"{backend.name} cannot be reached or is overloaded")
        except Permanent as error:
            log.warning("a backend refuses a prompt", backend=backend.name, cause=error.detail)
            return ReplyError(code=BACKEND_REFUSED, detail=f"{backend.name} refuses this request")

    async def _tried(self, member: Member, prompt: ChatPrompt, telling: Telling, left: float) -> Answer:
        longest = min(left, LONGEST_RETRY_AFTER_S)

        def wait(error: Exception) -> bool | float:
            if not isinstance(error, Transient) or isinstance(error, NothingSaid):
                return False
            # A server that asks to wait beyond that has answered: no.
            return error.retry_after if error.retry_after and error.retry_after <= longest else not error.retry_after

        failed: Transient | None = None
        try:
            return await _attempted(member, prompt, telling)
        except Transient as error:
            # Most attempts succeed: only a failure is worth what stamina costs, 0.06 ms.
            failed = error
        faulted = isinstance(failed, Faulted)
        async for attempt in stamina.retry_context(
            on=wait, attempts=self._settings.attempts, timeout=left, wait_initial=0.2, wait_max=2.0, wait_jitter=0.2
        ):
            with attempt:
                if failed is not None:
                    first, failed = failed, None
                    raise first
                try:
                    return await _attempted(member, prompt, telling, faulted=faulted)
                except Faulted:
                    faulted = True
                    raise
        raise AssertionError("stamina ends by a result or by the last error")

    async def close(self) -> None:
        """Close every backend, once what was to be kept is kept."""
        if self._earlier is not None:
            await self._earlier.settle()
        for member in self.fleet.members:
            await member.backend.close()


async def _attempted(member: Member, prompt: ChatPrompt, telling: Telling, *, faulted: bool = False) -> Answer:
    said = telling.attempt()
    with member.breaker.attempt(said, faulted=faulted):
        return await member.backend.answer(prompt, said)


def _failed(code: str, detail: str) -> Outcome:
    return Outcome(ReplyError(code=code, detail=detail))


def _unanswered(planned: Plan, prompt: ChatPrompt, failures: Sequence[ReplyError]) -> Outcome:
    """Return what is said where nobody answered: what was found, or what the first one failed by."""
    count(Metric.FALLBACKS_TOTAL, planned.wanted, NOBODY)
    if prompt.passages:
        return Outcome(_what_was_found(prompt), served_by=NOBODY, degraded=True)
    unserved = ReplyError(code=BACKEND_UNAVAILABLE, detail=f"{planned.wanted} does not serve the model of this route")
    return Outcome(failures[0] if failures else unserved, planned.model, planned.wanted)


def _broken_off(backend: Backend, prompt: ChatPrompt, telling: Telling, result: Answer | ReplyError) -> Outcome:
    """Return what was said so far as the answer: whoever reads along cannot unread it."""
    late = isinstance(result, ReplyError) and result.code == DEADLINE_PASSED
    answer = Answer(
        telling.said, citations_in(telling.said, prompt.passages), finish_reason="length" if late else "error"
    )
    return Outcome(answer, backend.model, backend.name, degraded=True)


def _what_was_found(prompt: ChatPrompt) -> Answer:
    return Answer(
        f"No model can answer just now. Found for this question: {named(prompt.passages)}.",
        abstained=True,
    )
