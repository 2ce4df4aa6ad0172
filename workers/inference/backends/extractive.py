"""Answers with sentences of the sources, and abstains when the evidence is weak. No language model.

Formulas and constants: measured on XQuAD-en, see decision 0005.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from infra.models.sparse import tokenise
from schemas.chat import ChatPrompt, Citation, Passage, Sentence
from workers.inference.backends.backend import (
    FORMAT_NOT_SUPPORTED,
    TOOLS_NOT_SUPPORTED,
    Answer,
    RequestRefused,
    Say,
    silently,
)
from workers.inference.cite import citation_of, named
from workers.inference.coverage import has_type, identified, neighbour_coverage, passage_coverage
from workers.inference.settings import ExtractiveSettings

SENTENCES = 2
"""Most sentences in an answer: 92 % of answers lie in the 1.4 sentences given on average."""
UNSOURCED = "This answerer only quotes sources, and none was to be searched for this question."


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence that may answer, with its raw signals."""

    passage: Passage
    sentence: Sentence
    text: str
    coverage: float
    """covN of the sentence."""
    passage_coverage: float
    has_type: bool
    identified: float = 0.0
    """What the question's codes say of the passage, -1 to 1."""


class ExtractiveBackend:
    """Picks up to two cited sentences of the best passages."""

    name = "extractive"
    model = "extractive"
    writes = False

    def __init__(self, settings: ExtractiveSettings) -> None:
        self._settings = settings

    async def serves(self, model: str) -> bool:
        """Say whether `model` is its name."""
        return model == self.name

    async def names(self) -> frozenset[str]:
        """Return its name."""
        return frozenset({self.name})

    async def answer(self, prompt: ChatPrompt, say: Say = silently) -> Answer:
        """Return cited sentences, said one by one, or an abstention that names what was looked at, not said.

        Raises RequestRefused where the answer is to have a given form, or may be a call of a tool: who offers tools
        waits for the calls, and would take a quotation for the model's decision against them.
        """
        if prompt.request.generation.calls_tools:
            raise RequestRefused(TOOLS_NOT_SUPPORTED, "the extractive answerer quotes, it calls no tools: send none")
        if prompt.request.generation.response_format:
            raise RequestRefused(FORMAT_NOT_SUPPORTED, "the extractive answerer quotes, it keeps to no response_format")
        # Stemming five passages takes 3 to 10 ms: many answers at once would hold up the loop's heartbeats.
        answer = await asyncio.to_thread(answer_from, prompt, self._settings)
        for at, citation in enumerate(answer.citations):
            say(f"{' ' if at else ''}{_cited(citation)}")
        return answer

    async def close(self) -> None:
        """Nothing is held."""


def answer_from(prompt: ChatPrompt, settings: ExtractiveSettings) -> Answer:
    """Choose, then answer or abstain."""
    if not prompt.request.retrieve:
        return Answer(UNSOURCED, abstained=True, support=0.0)
    passages = prompt.passages[: settings.passages]
    candidates = candidates_of(prompt, passages)
    ranked = rank(candidates, settings)
    if not ranked:
        return _abstention(passages, 0.0)
    best, first = ranked[0]
    support = topical_support(best, settings)
    if support < settings.abstain_below:
        return _abstention(passages, support)
    chosen = [best]
    for candidate, score in ranked[1:]:
        if len(chosen) == SENTENCES or score < settings.second_at_least * first:
            break
        # Not from a passage that holds fewer of the codes asked for: it is about another one.
        if candidate.text.casefold() != best.text.casefold() and candidate.identified >= best.identified:
            chosen.append(candidate)
    citations = tuple(citation_of(one.passage, one.sentence.start, one.sentence.end) for one in _in_order(chosen))
    return Answer(" ".join(map(_cited, citations)), citations, support=support)


def candidates_of(prompt: ChatPrompt, passages: Sequence[Passage]) -> list[Candidate]:
    """Return the sentences of `passages` with their raw signals; a sentence in two overlapping passages counts once."""
    weights = prompt.term_weights
    found: dict[tuple[UUID, int, int], Candidate] = {}
    for passage in passages:
        title, whole = frozenset(tokenise(passage.title)), frozenset(tokenise(passage.text))
        covered, coded = passage_coverage(weights, whole, title), identified(weights, whole, title)
        previous: frozenset[str] = frozenset()
        for sentence in passage.sentences:
            text = passage.text[max(0, sentence.start - passage.start) : sentence.end - passage.start]
            if sentence.start < passage.start or sentence.end > passage.end or not text.strip():
                continue  # cut off by the passage's edge: its quote could not be shown whole
            terms = frozenset(tokenise(text))
            coverage = neighbour_coverage(weights, terms, previous, whole, title)
            typed = has_type(prompt.question, text)
            key = (passage.document_id, sentence.start, sentence.end)
            found.setdefault(key, Candidate(passage, sentence, text, coverage, covered, typed, coded))
            previous = terms
    return list(found.values())


def rank(candidates: Sequence[Candidate], settings: ExtractiveSettings) -> list[tuple[Candidate, float]]:
    """Return the candidates with S, best first.

    Each signal is clipped at 0 and divided by its maximum over the candidates, then S = .4 covN + .3 passage + .2 cos +
    .1 type. Where the best passage is a chat message the order of retrieval stands, and S orders within a message:
    between messages the formula neither helps nor hurts.
    """
    signals = (
        (settings.coverage_weight, [one.coverage for one in candidates]),
        (settings.passage_weight, [one.passage.score for one in candidates]),
        (settings.cosine_weight, [one.sentence.cosine for one in candidates]),
        (settings.type_weight, [float(one.has_type) for one in candidates]),
    )
    scores = [0.0] * len(candidates)
    for weight, values in signals:
        best = max(values, default=0.0)
        for at, value in enumerate(values if best > 0 else ()):
            scores[at] += weight * max(0.0, value) / best
    scored = list(zip(candidates, scores, strict=True))
    if candidates and candidates[0].passage.kind in settings.message_kinds:
        return sorted(scored, key=lambda pair: (pair[0].passage.number, -pair[1]))
    return sorted(scored, key=lambda pair: -pair[1])


def topical_support(best: Candidate, settings: ExtractiveSettings) -> float:
    """Return p = sigmoid(8 cos + 6 covPassage + 3 identified - 8) of the best sentence: topical support, no more.

    An identifier in question and passage is evidence that neither the cosine (an encoder knows no codes) nor the
    coverage (most words of such a question are not the passage's) has; one that the passage lacks is evidence against.
    """
    logit = (
        settings.support_cosine * best.sentence.cosine
        + settings.support_coverage * best.passage_coverage
        + settings.support_identifier * best.identified
        + settings.support_bias
    )
    return 1 / (1 + math.exp(-logit))


def _cited(citation: Citation) -> str:
    return f"{citation.quote} [{citation.number}]"


def _in_order(chosen: Sequence[Candidate]) -> list[Candidate]:
    """Sentences of one document are told in the document's order; else the better one first."""
    if len({one.passage.document_id for one in chosen}) == 1:
        return sorted(chosen, key=lambda one: one.sentence.start)
    return list(chosen)


def _abstention(passages: Sequence[Passage], support: float) -> Answer:
    if not passages:
        return Answer("The sources do not answer this question: none was found for it.", abstained=True, support=0.0)
    return Answer(
        f"The sources do not answer this question. Looked at: {named(passages)}.", abstained=True, support=support
    )
