"""Which earlier answers stand in. The store is a table here; the real one is in tests/live/redis."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import numpy as np
import pytest

from infra.errors import Transient
from infra.models.packed import pack
from infra.redis.kept_answers import Changed, KeptAnswers
from schemas.chat import ChatMessage, ChatPrompt, Generation, Passage
from tests.chats import passage, prompt
from tests.unit.workers.inference.test_answer import DOWN, Quoting, Scripted
from workers.inference.answer import Answerer, Outcome
from workers.inference.backends.backend import Answer
from workers.inference.cite import citations_in
from workers.inference.earlier import Earlier, telling
from workers.inference.settings import EarlierSettings, InferenceSettings


class Table(KeptAnswers):
    """Entries by workspace and id."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], bytes] = {}
        self.documents: dict[str, Mapping[UUID, int]] = {}
        self.away = False

    async def keep(
        self, workspace: str, entry_id: str, entry: bytes, documents: Mapping[UUID, int], *, ttl_s: int, most: int
    ) -> bool:
        if self.away:
            raise Transient("redis", "away")
        self.rows[workspace, entry_id] = entry
        self.documents[entry_id] = documents
        return True

    async def entries(self, workspace: str) -> list[bytes]:
        if self.away:
            raise Transient("redis", "away")
        return [entry for (owner, _), entry in self.rows.items() if owner == workspace]

    async def forget(self, workspace: str, changed: Sequence[Changed]) -> int:
        raise AssertionError("the inference worker forgets nothing itself")


QUESTION = "How often are keys rotated?"
KEYS, DOORS = passage(1), passage(2, "Doors are locked at night.")
ANSWER = Answer("Weekly [1].", citations_in("Weekly [1].", [KEYS]), model="m1")


def vector(angle: float) -> str:
    """Return a vector at `angle` (radians) from that of the first question."""
    return pack(np.array([np.cos(angle), np.sin(angle)], dtype=np.float32))


def asked(
    question: str = QUESTION, passages: Sequence[Passage] = (KEYS, DOORS), *, angle: float = 0.0, **fields: object
) -> ChatPrompt:
    found = prompt(question, passages, **fields)
    update = {"question_vector": vector(angle), "encoder": "e1", "workspace": found.request.workspace}
    return found.model_copy(update=update)


class Mill:
    """An answerer whose model can go away, with a table of earlier answers."""

    def __init__(self, answer: Answer = ANSWER, **fields: object) -> None:
        self.table = Table()
        self.earlier = Earlier(self.table, EarlierSettings())
        self.model = Scripted(answer, name="a", **fields)  # type: ignore[arg-type]
        self.model.temperature = 0.0  # type: ignore[attr-defined]
        settings = InferenceSettings(attempts=1, breaker_failures=100)
        self.answerer = Answerer([self.model, Quoting(Answer("q"), name="q")], settings, earlier=self.earlier)

    async def say(self, found: ChatPrompt, *, down: bool = False) -> Outcome:
        self.model.steps = (DOWN,) if down else self.steps
        outcome = await self.answerer.outcome(found)
        await self.earlier.settle()
        return outcome

    @property
    def steps(self) -> tuple[Answer, ...]:
        return (ANSWER,)


async def test_an_earlier_answer_stands_in_before_a_quotation_and_says_so() -> None:
    mill = Mill()
    assert (await mill.say(asked())).served_by == "a"
    outcome = await mill.say(asked("How frequently are the keys rotated?", angle=0.2), down=True)
    assert (outcome.served_by, outcome.degraded, outcome.model) == ("cache", True, "m1")
    assert isinstance(outcome.result, Answer)
    assert (outcome.result.text, outcome.result.citations) == (ANSWER.text, ANSWER.citations)


async def test_while_the_model_answers_nothing_else_is_looked_at() -> None:
    mill = Mill()
    await mill.say(asked())
    await mill.say(asked())
    assert mill.model.calls == 2


@pytest.mark.parametrize(
    "other",
    [
        asked(angle=0.4),
        asked("How often are keys not rotated?"),
        asked("How often are 2 keys rotated?"),
        asked(passages=[DOORS]),
        asked(passages=[KEYS.model_copy(update={"version": 2}), DOORS]),
        asked(passages=[KEYS.model_copy(update={"start": 1})]),
        asked(workspace="other"),
        asked(cached=False),
        asked(retrieve=False),
        asked(generation=Generation(temperature=0.7)),
        asked(generation=Generation(max_tokens=10)),
        asked(generation=Generation(stop=("x",))),
        asked(generation=Generation(seed=4)),
        asked(generation=Generation(response_format={"type": "json_object"})),
        asked(messages=[ChatMessage(role="user", content="And?"), ChatMessage(role="user", content=QUESTION)]),
        asked(messages=[ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content=QUESTION)]),
        asked(model="lora"),
        asked().model_copy(update={"index_id": "another"}),
        asked().model_copy(update={"encoder": "another"}),
        asked().model_copy(update={"question_vector": ""}),
    ],
    ids=range(20),
)
async def test_what_differs_in_anything_that_matters_is_not_the_same_question(other: ChatPrompt) -> None:
    mill = Mill(adapters=["lora"])
    await mill.say(asked())
    assert mill.table.rows
    assert (await mill.say(other, down=True)).served_by != "cache"
    assert (await mill.say(asked(), down=True)).served_by == "cache"


@pytest.mark.parametrize(
    "found",
    [
        asked(cached=False),
        asked(generation=Generation(temperature=0.7)),
        asked(messages=[ChatMessage(role="assistant", content="Hm."), ChatMessage(role="user", content=QUESTION)]),
        asked(passages=[]),
    ],
    ids=range(4),
)
async def test_what_may_not_be_found_is_not_kept_either(found: ChatPrompt) -> None:
    mill = Mill()
    await mill.say(found)
    assert not mill.table.rows


@pytest.mark.parametrize(
    "answer",
    [
        Answer("Weekly."),
        Answer("Weekly [1].", ANSWER.citations, finish_reason="length"),
        Answer("Weekly [1] [9].", ANSWER.citations),
        Answer("No [1].", ANSWER.citations, abstained=True),
    ],
    ids=["uncited", "cut off", "a marker of nothing", "abstained"],
)
async def test_only_a_whole_answer_that_rests_on_sources_is_kept(answer: Answer) -> None:
    mill = Mill()
    mill.model.steps = (answer,)
    await mill.answerer.outcome(asked())
    await mill.earlier.settle()
    assert not mill.table.rows


async def test_a_backend_that_samples_or_does_not_say_keeps_nothing() -> None:
    mill = Mill()
    mill.model.temperature = 0.8  # type: ignore[attr-defined]
    await mill.say(asked())
    del mill.model.temperature  # type: ignore[attr-defined]
    await mill.say(asked())
    assert not mill.table.rows
    await mill.say(asked(generation=Generation(temperature=0)))
    assert mill.table.rows


async def test_an_entry_is_bound_to_every_document_that_the_model_read_and_to_its_conversation() -> None:
    mill = Mill()
    older = DOORS.model_copy(update={"number": 3, "version": 1, "ordinal": 1})
    question = asked(passages=[KEYS, DOORS.model_copy(update={"version": 4}), older])
    await mill.say(question)
    (documents,) = mill.table.documents.values()
    assert documents == {KEYS.document_id: 1, DOORS.document_id: 1, question.request.conversation_id: 0}


async def test_sources_are_numbered_as_they_were_found_now() -> None:
    mill = Mill()
    await mill.say(asked())
    turned = [DOORS.model_copy(update={"number": 1}), KEYS.model_copy(update={"number": 2})]
    outcome = await mill.say(asked(passages=turned), down=True)
    assert isinstance(outcome.result, Answer)
    assert outcome.result.text == "Weekly [2]."
    (citation,) = outcome.result.citations
    assert (citation.number, citation.document_id) == (2, KEYS.document_id)


async def test_a_store_that_is_away_or_holds_rubbish_costs_nothing_but_the_answer() -> None:
    mill = Mill()
    mill.table.away = True
    assert (await mill.say(asked())).served_by == "a"
    assert (await mill.say(asked(), down=True)).served_by == "q"
    mill.table.away = False
    mill.table.rows["acme", "x"] = b"{}"
    assert (await mill.say(asked(), down=True)).served_by == "q"


def test_numbers_and_negations_tell_questions_apart() -> None:
    assert telling("Is it 3.5 or 12?") == ("12", "3.5")
    assert telling("Why isn't it disabled, not undone?") == ("disabled", "n't", "not", "undone")
    assert telling("How do I enable it?") == ()
