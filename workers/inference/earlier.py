"""Earlier answers, for the time when no model answers: which may be kept, and which may stand in for what question.

An earlier answer stands in where all of this holds:

- the question is asked alone (no conversation before it), with retrieval, without sampling or a given form;
- it is of the same workspace, index, backend and model or adapter;
- its vector has at least the stated cosine with the earlier question's, and both hold the same numbers and negations,
  which a sentence's vector hardly shows;
- everything that the answer cites was found for this question too, in the same version: what the index no longer
  holds, or holds in another version, is never quoted.
"""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol, runtime_checkable
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from infra.errors import Permanent, Transient
from infra.models.packed import unpack
from infra.redis.kept_answers import KeptAnswers
from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, count
from schemas.chat import ChatPrompt, Citation, Generation, Passage, markers
from schemas.event import now
from workers.inference.backends.backend import Answer
from workers.inference.router import DEFAULT_NAMES, Step
from workers.inference.settings import EarlierSettings

OLDEST_S = 3_600.0
"""A question accepted longer ago is not kept: marks of deletions last a day, so they cover what it was made of."""
BEFORE_ANY_DELETION = 0
"""Stands for the version of a conversation that is there: the receipt of its deletion has a version of at least 1."""
MOST_UNDER_WAY = 100
"""Entries on their way to the server; while it is slow, more are not kept."""
# Prefixes are taken by their letters alone: to miss an answer for "under" costs less than to give one for "undo".
_TELLING = re.compile(r"\d+(?:[.,]\d+)*|\b(?:not|no|never|none|without|except|un\w+|dis\w+)\b|n['’]t\b", re.IGNORECASE)

log = logger(__name__)


@runtime_checkable
class Samples(Protocol):
    """A backend that says how it samples where the request does not."""

    @property
    def temperature(self) -> float:
        """0: the same question gets the same answer."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer and what it was an answer to."""

    scope: str
    vector: str
    telling: tuple[str, ...]
    text: str
    citations: tuple[Citation, ...]
    cited: dict[int, tuple[UUID, int, int, int]]
    """Document, version, start and end of each passage that is cited, by number."""
    model: str


_ENTRY = TypeAdapter(Entry)


@dataclass(frozen=True, slots=True)
class Found:
    """An earlier answer that may stand in."""

    answer: Answer
    model: str


class Earlier:
    """Keeps and finds answers. What the store cannot do now is left out: nobody waits for it or fails by it."""

    def __init__(self, store: KeptAnswers, settings: EarlierSettings) -> None:
        self._store = store
        self._settings = settings
        self._under_way: set[asyncio.Task[None]] = set()

    def keep(self, prompt: ChatPrompt, step: Step, answer: Answer) -> None:
        """Keep `answer` in the background, if it may be kept."""
        if len(self._under_way) >= MOST_UNDER_WAY or not (fits(prompt, step) and _complete(answer, prompt)):
            return
        task = asyncio.create_task(self._keep(prompt, step, answer), name="keep an answer")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def find(self, prompt: ChatPrompt, steps: Iterable[Step]) -> Found | None:
        """Return the answer to the nearest question that one of `steps` has answered, in their order."""
        scopes = [scope_of(prompt, step) for step in steps if fits(prompt, step)]
        if not scopes:
            return None
        try:
            entries = _read(await self._store.entries(prompt.workspace))
        except (Transient, Permanent) as error:
            log.warning("no earlier answers", cause=error.detail)
            count(Metric.EARLIER_ANSWERS_TOTAL, "unavailable")
            return None
        near = [
            (scopes.index(entry.scope), -cosine, entry)
            for entry in entries
            if entry.scope in scopes
            and (cosine := _cosine(entry, prompt)) >= self._settings.similarity
            and entry.telling == telling(prompt.question)
        ]
        for _, _, entry in sorted(near, key=lambda each: each[:2]):
            answer = renumbered(entry, prompt.passages)
            if answer is not None:
                count(Metric.EARLIER_ANSWERS_TOTAL, "found")
                return Found(answer, entry.model)
        count(Metric.EARLIER_ANSWERS_TOTAL, "none")
        return None

    async def settle(self) -> None:
        """Return when all that was to be kept is kept or given up."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _keep(self, prompt: ChatPrompt, step: Step, answer: Answer) -> None:
        entry = entry_of(prompt, step, answer)
        name = sha256(f"{entry.scope}\0{prompt.question}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
        # A deletion takes along what was said in the conversation, too: it is bound to it as to a document.
        documents: dict[UUID, int] = {prompt.request.conversation_id: BEFORE_ANY_DELETION}
        for passage in prompt.passages:
            # Of all passages, cited or not: the model has read them.
            documents[passage.document_id] = min(passage.version, documents.get(passage.document_id, passage.version))
        try:
            kept = await self._store.keep(
                prompt.workspace,
                name,
                _ENTRY.dump_json(entry),
                documents,
                ttl_s=self._settings.ttl_s,
                most=self._settings.entries,
            )
        except (Transient, Permanent) as error:
            log.warning("an answer is not kept", cause=error.detail)
            count(Metric.EARLIER_ANSWERS_TOTAL, "unavailable")
        else:
            count(Metric.EARLIER_ANSWERS_TOTAL, "kept" if kept else "refused")


def fits(prompt: ChatPrompt, step: Step) -> bool:
    """Whether an answer of `step` to this prompt depends on nothing but the question and what was found for it."""
    request = prompt.request
    if not (request.retrieve and request.cached):
        return False
    generation = request.generation
    given = Generation(temperature=generation.temperature, max_tokens=generation.max_tokens)
    temperature = generation.temperature
    if temperature is None and isinstance(step.member.backend, Samples):
        temperature = step.member.backend.temperature
    # Who does not say how it samples may sample.
    return temperature == 0 and (
        request.replay_of is None
        and step.member.backend.writes
        and len(request.messages) == 1
        and generation == given
        and bool(prompt.passages and prompt.question_vector and prompt.index_id)
    )


def scope_of(prompt: ChatPrompt, step: Step) -> str:
    """Return what must be the same: index, encoder, backend, the model or adapter asked for, and the length."""
    named = "" if step.stands_in or prompt.request.model in DEFAULT_NAMES else prompt.request.model
    asked = step.model or named or step.member.backend.model
    length = prompt.request.generation.max_tokens
    parts = (prompt.index_id, prompt.encoder, step.member.name, asked, str(length))
    return sha256("\0".join(parts).encode()).hexdigest()[:32]


def telling(question: str) -> tuple[str, ...]:
    """Return the numbers and negations of a question, sorted."""
    return tuple(sorted(found.group().lower() for found in _TELLING.finditer(question)))


def entry_of(prompt: ChatPrompt, step: Step, answer: Answer) -> Entry:
    """Return what is kept of an answer."""
    cited = {citation.number for citation in answer.citations}
    return Entry(
        scope_of(prompt, step),
        prompt.question_vector,
        telling(prompt.question),
        answer.text,
        answer.citations,
        {passage.number: _place(passage) for passage in prompt.passages if passage.number in cited},
        answer.model or step.member.backend.model,
    )


def renumbered(entry: Entry, passages: Iterable[Passage]) -> Answer | None:
    """Return the answer with its sources numbered as they were found now; None if one of them was not."""
    numbers = {_place(passage): passage.number for passage in passages}
    now_called = {old: numbers[place] for old, place in entry.cited.items() if place in numbers}
    if len(now_called) < len(entry.cited):
        return None
    text, at = "", 0
    for start, end, marked in markers(entry.text):
        text += entry.text[at:start] + "".join(f"[{now_called[number]}]" for number in marked)
        at = end
    cited = tuple(each.model_copy(update={"number": now_called[each.number]}) for each in entry.citations)
    return Answer(text + entry.text[at:], cited)


def _place(passage: Passage) -> tuple[UUID, int, int, int]:
    return passage.document_id, passage.version, passage.start, passage.end


def _complete(answer: Answer, prompt: ChatPrompt) -> bool:
    """Whether the answer came to its end, rests on sources, and marks no others."""
    marked = {number for _, _, numbers in markers(answer.text) for number in numbers}
    fresh = (now() - prompt.request.accepted_at).total_seconds() < OLDEST_S
    cited = {citation.number for citation in answer.citations}
    return fresh and answer.finish_reason == "stop" and not answer.abstained and bool(cited) and marked == cited


def _cosine(entry: Entry, prompt: ChatPrompt) -> float:
    one, other = unpack(entry.vector), unpack(prompt.question_vector)
    return float(one @ other) if one is not None and other is not None and one.shape == other.shape else 0.0


def _read(contents: Iterable[bytes]) -> list[Entry]:
    entries = []
    for content in contents:
        try:
            entries.append(_ENTRY.validate_json(content))
        except ValidationError:
            # Not ours, or of another layout: as good as nothing.
            continue
    return entries
