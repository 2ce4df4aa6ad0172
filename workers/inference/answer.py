"""Gets an answer from the backends before the deadline, or says why there is none."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import stamina

from infra.errors import Permanent, Transient
from infra.redis.load import Load
from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, count
from schemas.chat import ChatPrompt, ReplyError
from schemas.event import now
from workers.inference.backends.backend import Answer, Backend, RequestRefused
from workers.inference.breaker import Breaker, Resting
from workers.inference.cancels import AskerGone, Cancels
from workers.inference.cite import citations_in, named
from workers.inference.settings import InferenceSettings
from workers.inference.slots import Slots
from workers.inference.telling import Diverged, Telling

DEFAULT_NAMES = frozenset({"", "default", "millrace"})
"""Model names that mean whoever answers by default; OpenAI clients must name some model."""

DEADLINE_PASSED = "deadline_passed"
BACKEND_UNAVAILABLE = "backend_unavailable"
BACKEND_REFUSED = "backend_refused"
UNKNOWN_MODEL = "unknown_model"
CANCELLED = "cancelled"

NOBODY = "none"
"""Stands in `served_by` where no backend answered and the reply only says what was found."""
LONGEST_RETRY_AFTER_S = 5.0
"""A busy server that asks to wait longer is not waited for: the slot would stand idle."""

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer or an error, and who gave it."""

    result: Answer | ReplyError
    model: str = ""
    served_by: str = ""
    degraded: bool = False


class Answerer:
    """The backends of this process; the first is the default, and each is stood in for by those after it."""

    def __init__(
        self, backends: Sequence[Backend], settings: InferenceSettings, cancels: Cancels | None = None
    ) -> None:
        if not backends:
            raise ValueError("an answerer has at least one backend")
        self._backends = list(backends)
        self._settings = settings
        self._slots = Slots(settings.concurrency, settings.weights)
        self._cancels = Cancels(settings.cancels_remembered_s) if cancels is None else cancels
        self._breakers = {
            backend.name: Breaker(
                backend.name,
                failures=settings.breaker_failures,
                silence_s=settings.breaker_silence_s,
                rest_s=settings.breaker_rest_s,
            )
            for backend in backends
        }

    def load(self) -> Load:
        """Return how busy this process is."""
        return self._slots.load()

    async def outcome(self, prompt: ChatPrompt, telling: Telling | None = None) -> Outcome:
        """Return what is to be replied; `telling` hears it as it is written, and all of it before the return.

        Raises nothing that a backend raises: the asker hears of it instead.
        """
        telling = telling or Telling()
        try:
            async with self._cancels.heeded(prompt.request):
                outcome = await self._in_turn(prompt, telling)
        except AskerGone:
            outcome = Outcome(ReplyError(code=CANCELLED, detail="the question was cancelled by its asker"))
        if isinstance(outcome.result, Answer):
            telling.complete(outcome.result.text)
        count(Metric.ANSWERS_TOTAL, outcome.served_by or NOBODY, _label(outcome.result))
        return outcome

    async def _in_turn(self, prompt: ChatPrompt, telling: Telling) -> Outcome:
        request = prompt.request
        left = (request.deadline - now()).total_seconds()
        if left <= 0:
            return _failed(DEADLINE_PASSED, "the deadline had passed before an answer was begun")
        ends_at = asyncio.get_running_loop().time() + max(left - self._settings.reply_margin_s, left / 2)
        try:
            chain = await self._chain(prompt)
        except Transient as error:
            log.warning("the models served are not known", cause=error.detail)
            return _failed(BACKEND_UNAVAILABLE, "the model server cannot be asked for its models now")
        if not chain:
            return _failed(UNKNOWN_MODEL, f"no backend serves the model {request.model[:80]!r}")
        async with AsyncExitStack() as holding:
            try:
                async with asyncio.timeout_at(ends_at):
                    await holding.enter_async_context(
                        self._slots.slot(request.workspace, request.accepted_at.timestamp())
                    )
            except TimeoutError:
                return _failed(DEADLINE_PASSED, "the deadline passed while the question waited for its turn")
            return await self._from(chain, prompt, telling, ends_at)

    async def _chain(self, prompt: ChatPrompt) -> list[Backend]:
        """Return the backend that is meant and those that may stand in for it; none for an unknown model."""
        meant = await self._meant(prompt.request.model)
        if meant is None:
            return []
        at = self._backends.index(meant)
        others = self._backends[at + 1 :] + self._backends[:at]
        # Whoever wants an answer of a given form, or a tool called, can do nothing with a quotation.
        wanted = prompt.request.generation
        quotable = prompt.request.retrieve and prompt.passages and not (wanted.response_format or wanted.calls_tools)
        return [meant, *(other for other in others if other.writes or quotable)]

    async def _meant(self, model: str) -> Backend | None:
        """Return the backend that goes by `model`. Raises Transient if one that may serve it cannot tell."""
        if model in DEFAULT_NAMES:
            return self._backends[0]
        for backend in self._backends:
            if model in (backend.name, backend.model):
                return backend
        unsure: Transient | None = None
        for backend in self._backends:
            try:
                if await backend.serves(model):
                    return backend
            except Transient as error:
                unsure = error
        if unsure is not None:
            raise unsure
        return None

    async def _from(self, chain: Sequence[Backend], prompt: ChatPrompt, telling: Telling, ends_at: float) -> Outcome:
        failures: list[ReplyError] = []
        for backend in chain:
            left = ends_at - asyncio.get_running_loop().time()
            reserve = min(self._settings.fallback_reserve_s, left / 4) if backend is not chain[-1] else 0.0
            try:
                result = await self._asked(backend, prompt, telling, ends_at - reserve)
            except RequestRefused as refused:
                return Outcome(ReplyError(code=refused.code, detail=refused.detail), backend.model, backend.name)
            stood_in = backend is not chain[0]
            # That the model is away must not be told as "the sources do not answer".
            if isinstance(result, Answer) and (backend.writes or not stood_in or not result.abstained):
                if stood_in:
                    count(Metric.FALLBACKS_TOTAL, chain[0].name, backend.name)
                return Outcome(result, result.model or backend.model, backend.name, degraded=stood_in)
            if telling.said:
                return _broken_off(backend, prompt, telling, result)
            if isinstance(result, ReplyError):
                failures.append(result)
        count(Metric.FALLBACKS_TOTAL, chain[0].name, NOBODY)
        if prompt.passages:
            return Outcome(_what_was_found(prompt), served_by=NOBODY, degraded=True)
        return Outcome(failures[0], chain[0].model, chain[0].name)

    async def _asked(self, backend: Backend, prompt: ChatPrompt, telling: Telling, until: float) -> Answer | ReplyError:
        """Ask one backend until the loop's time `until`. Raises RequestRefused."""
        try:
            async with asyncio.timeout_at(until):
                return await self._tried(backend, prompt, telling, until - asyncio.get_running_loop().time())
        except TimeoutError:
            return ReplyError(code=DEADLINE_PASSED, detail=f"{backend.name} gave no answer before the deadline")
        except (Transient, Resting, Diverged) as error:
            if not isinstance(error, Resting):
                log.warning("a backend is unavailable", backend=backend.name, cause=str(error) or "another answer")
            return ReplyError(code=BACKEND_UNAVAILABLE, detail=f"{backend.name} cannot be reached or is overloaded")
        except Permanent as error:
            log.warning("a backend refuses a prompt", backend=backend.name, cause=error.detail)
            return ReplyError(code=BACKEND_REFUSED, detail=f"{backend.name} refuses this request")

    async def _tried(self, backend: Backend, prompt: ChatPrompt, telling: Telling, left: float) -> Answer:
        longest = min(left, LONGEST_RETRY_AFTER_S)

        def wait(error: Exception) -> bool | float:
            if not isinstance(error, Transient):
                return False
            # A server that asks to wait beyond that has answered: no.
            return error.retry_after if error.retry_after and error.retry_after <= longest else not error.retry_after

        async for attempt in stamina.retry_context(
            on=wait, attempts=self._settings.attempts, timeout=left, wait_initial=0.2, wait_max=2.0, wait_jitter=0.2
        ):
            with attempt:
                said = telling.attempt()
                with self._breakers[backend.name].attempt(said):
                    return await backend.answer(prompt, said)
        raise AssertionError("stamina ends by a result or by the last error")

    async def close(self) -> None:
        """Close every backend."""
        for backend in self._backends:
            await backend.close()


def _failed(code: str, detail: str) -> Outcome:
    return Outcome(ReplyError(code=code, detail=detail))


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


def _label(result: Answer | ReplyError) -> str:
    if isinstance(result, ReplyError):
        return result.code
    return "abstained" if result.abstained else "answered"
