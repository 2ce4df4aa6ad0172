"""Decides who is asked: a model that is named, or the one that the routing names for the kind of question."""

from collections.abc import Sequence
from dataclasses import dataclass

from infra.errors import Permanent, Transient
from infra.telemetry.logs import logger
from schemas.chat import ChatPrompt, Intent
from workers.inference.fleet import Fleet, Member
from workers.inference.intent import Reading
from workers.inference.routing import Target

DEFAULT_NAMES = frozenset({"", "default", "millrace"})
"""Model names that mean whoever answers by default; OpenAI clients must name some model."""

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """One who may be asked, and as which model."""

    member: Member
    model: str = ""
    """Empty: as the request says, or its own."""
    stands_in: bool = True

    def addressed(self, prompt: ChatPrompt) -> ChatPrompt:
        """Return the prompt as this one is to read it."""
        if not self.model:
            return prompt
        return prompt.model_copy(update={"request": prompt.request.model_copy(update={"model": self.model})})


@dataclass(frozen=True, slots=True)
class Plan:
    """Who is asked, in this order; nobody for an unknown model."""

    steps: tuple[Step, ...]
    wanted: str = ""
    """Name of the backend that is meant, whether it can be asked or not."""
    model: str = ""
    """Model that is meant, as far as it is known before it answers."""
    intent: Intent | None = None


def quotable(prompt: ChatPrompt) -> bool:
    """Whether a quotation would be an answer: not for who wants a given form, a tool called, or no sources."""
    wanted = prompt.request.generation
    return prompt.request.retrieve and bool(prompt.passages) and not (wanted.response_format or wanted.calls_tools)


async def plan(fleet: Fleet, prompt: ChatPrompt, reading: Reading) -> Plan:
    """Return who is asked. Raises Transient, Permanent if nobody can tell who serves the model that is named."""
    request = prompt.request
    intent = reading.intent(fleet.routing.confidence)
    if request.model not in DEFAULT_NAMES:
        meant = await _serving(fleet, request.model)
        if meant is None:
            return Plan((), intent=intent)
        return _plan(fleet, prompt, meant, intent, model=request.model)
    route = fleet.routing.route(request.workspace, intent or "general")
    if route is None:
        return _plan(fleet, prompt, fleet.default, intent)
    first = fleet.named(route.to.backend)
    steps = [await _step(fleet, target, stands_in=target is not route.to) for target in route.targets]
    if route.fallbacks is None:
        steps += [Step(other) for other in _others(fleet, first) if other.backend.writes]
    steps += [Step(other) for other in fleet.members if not other.backend.writes]
    return Plan(_fit(steps, prompt), first.name, route.to.model or first.backend.model, intent)


def _plan(fleet: Fleet, prompt: ChatPrompt, meant: Member, intent: Intent | None, model: str = "") -> Plan:
    steps = [Step(meant, stands_in=False), *(Step(other) for other in _others(fleet, meant))]
    named = "" if model == meant.name else model
    return Plan(_fit(steps, prompt), meant.name, named or meant.backend.model, intent)


def _others(fleet: Fleet, meant: Member) -> list[Member]:
    at = fleet.members.index(meant)
    return [*fleet.members[at + 1 :], *fleet.members[:at]]


def _fit(steps: Sequence[Step | None], prompt: ChatPrompt) -> tuple[Step, ...]:
    """Leave out who cannot be asked, who would be asked twice, and quotations that would be no answer."""
    fitting: dict[tuple[str, str], Step] = {}
    for step in steps:
        if step is None:
            continue
        if step.stands_in and not (step.member.backend.writes or quotable(prompt)):
            continue
        fitting.setdefault((step.member.name, step.model), step)
    return tuple(fitting.values())


async def _step(fleet: Fleet, target: Target, *, stands_in: bool) -> Step | None:
    """Return the step, None where the server does not have the model, or cannot say so."""
    member = fleet.named(target.backend)
    if target.model:
        try:
            serves = await member.backend.serves(target.model)
        except (Transient, Permanent) as error:
            log.warning("a routed model cannot be looked for", target=str(target), cause=error.detail)
            return None
        if not serves:
            log.warning("a routed model is not served", target=str(target))
            return None
    return Step(member, target.model, stands_in)


async def _serving(fleet: Fleet, model: str) -> Member | None:
    """Return who goes by `model`. Raises Transient, Permanent if one that may serve it cannot tell."""
    for member in fleet.members:
        if model in (member.name, member.backend.model):
            return member
    unsure: Transient | Permanent | None = None
    for member in fleet.members:
        try:
            if await member.backend.serves(model):
                return member
        except (Transient, Permanent) as error:
            unsure = error
    if unsure is not None:
        raise unsure
    return None
