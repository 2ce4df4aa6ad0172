"""Gets an answer from a backend before the deadline, or says why there is none."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import stamina

from infra.errors import Permanent, Transient
from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, count
from schemas.chat import ChatPrompt, ReplyError
from schemas.event import now
from workers.inference.backends.backend import Answer, Backend
from workers.inference.settings import InferenceSettings

DEFAULT_NAMES = frozenset({"", "default", "millrace"})
"""Model names that mean whoever answers by default; OpenAI clients must name some model."""

DEADLINE_PASSED = "deadline_passed"
BACKEND_UNAVAILABLE = "backend_unavailable"
BACKEND_REFUSED = "backend_refused"
UNKNOWN_MODEL = "unknown_model"

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer or an error, and who gave it."""

    result: Answer | ReplyError
    model: str = ""
    served_by: str = ""


class Answerer:
    """The backends of this process; the first is the default."""

    def __init__(self, backends: Sequence[Backend], settings: InferenceSettings) -> None:
        if not backends:
            raise ValueError("an answerer has at least one backend")
        self._backends = backends
        self._settings = settings
        self._free = asyncio.Semaphore(settings.concurrency)

    async def outcome(self, prompt: ChatPrompt) -> Outcome:
        """Return what is to be replied. Raises nothing that a backend raises: the asker hears of it instead."""
        backend = self._named(prompt.request.model)
        if backend is None:
            error = ReplyError(code=UNKNOWN_MODEL, detail=f"no backend serves the model {prompt.request.model[:80]!r}")
            count(Metric.ANSWERS_TOTAL, "none", error.code)
            return Outcome(error)
        result = await self._within_deadline(prompt, backend)
        count(Metric.ANSWERS_TOTAL, backend.name, _label(result))
        return Outcome(result, backend.model, backend.name)

    def _named(self, model: str) -> Backend | None:
        if model in DEFAULT_NAMES:
            return self._backends[0]
        return next((backend for backend in self._backends if model in (backend.name, backend.model)), None)

    async def _within_deadline(self, prompt: ChatPrompt, backend: Backend) -> Answer | ReplyError:
        left = (prompt.request.deadline - now()).total_seconds()
        if left <= 0:
            return ReplyError(code=DEADLINE_PASSED, detail="the deadline had passed before an answer was begun")
        left = max(left - self._settings.reply_margin_s, left / 2)
        try:
            async with asyncio.timeout(left), self._free:
                return await self._tried(prompt, backend, left)
        except TimeoutError:
            return ReplyError(code=DEADLINE_PASSED, detail=f"{backend.name} gave no answer before the deadline")
        except Transient as error:
            log.warning("a backend is unavailable", backend=backend.name, cause=error.detail)
            return ReplyError(code=BACKEND_UNAVAILABLE, detail=f"{backend.name} cannot be reached or is overloaded")
        except Permanent as error:
            log.warning("a backend refuses a prompt", backend=backend.name, cause=error.detail)
            return ReplyError(code=BACKEND_REFUSED, detail=f"{backend.name} refuses this request")

    async def _tried(self, prompt: ChatPrompt, backend: Backend, left: float) -> Answer:
        def wait(error: Exception) -> bool | float:
            if not isinstance(error, Transient):
                return False
            # A server that asks to wait beyond the deadline has answered: no.
            return error.retry_after if error.retry_after and error.retry_after < left else not error.retry_after

        async for attempt in stamina.retry_context(
            on=wait, attempts=self._settings.attempts, timeout=left, wait_initial=0.2, wait_max=2.0, wait_jitter=0.2
        ):
            with attempt:
                return await backend.answer(prompt)
        raise AssertionError("stamina ends by a result or by the last error")

    async def close(self) -> None:
        """Close every backend."""
        for backend in self._backends:
            await backend.close()


def _label(result: Answer | ReplyError) -> str:
    if isinstance(result, ReplyError):
        return result.code
    return "abstained" if result.abstained else "answered"
