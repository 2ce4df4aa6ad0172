"""Answers with sentences of the sources, and abstains when the evidence is weak. No language model.

Signals and constants: `signals.py`; how well they do, and what a threshold costs: docs/quality.md.
"""

import asyncio
from collections.abc import Sequence

from schemas.chat import ChatPrompt, Citation, Passage
from workers.inference.backends.backend import (
    FORMAT_NOT_SUPPORTED,
    TOOLS_NOT_SUPPORTED,
    Answer,
    RequestRefused,
    Say,
    silently,
)
from workers.inference.backends.signals import Candidate, candidates_of, standing, support
from workers.inference.cite import citation_of, named
from workers.inference.settings import ExtractiveSettings

SENTENCES = 2
"""Most sentences in an answer."""
UNSOURCED = "This answerer only quotes sources, and none was to be searched for this question."


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
    # A code in question and passage is evidence that neither the cosine (an encoder knows no codes) nor the coverage
    # (most words of such a question are not the passage's) has; one that the passage lacks is evidence against.
    bias = settings.support_identifier * best.identified
    if _is_chat(candidates, settings):
        bias += settings.message_bias
    supported = support(best, candidates, len(prompt.term_weights), bias)
    least = prompt.request.min_support
    if supported < (settings.abstain_below if least is None else least):
        return _abstention(passages, supported)
    chosen = [best]
    for candidate, score in ranked[1:]:
        if len(chosen) == SENTENCES or first - score > settings.second_within:
            break
        # Not from a passage that holds fewer of the codes asked for: it is about another one.
        if candidate.text.casefold() != best.text.casefold() and candidate.identified >= best.identified:
            chosen.append(candidate)
    citations = tuple(citation_of(one.passage, one.sentence.start, one.sentence.end) for one in _in_order(chosen))
    return Answer(" ".join(map(_cited, citations)), citations, support=supported)


def rank(candidates: Sequence[Candidate], settings: ExtractiveSettings) -> list[tuple[Candidate, float]]:
    """Return the candidates with their standing, best first.

    Where the best passage is a chat message the order of retrieval stands, and the standing orders within a message:
    between messages it neither helps nor hurts.
    """
    scored = [(one, standing(one)) for one in candidates]
    if _is_chat(candidates, settings):
        return sorted(scored, key=lambda pair: (pair[0].passage.number, -pair[1]))
    return sorted(scored, key=lambda pair: -pair[1])


def _is_chat(candidates: Sequence[Candidate], settings: ExtractiveSettings) -> bool:
    return bool(candidates) and candidates[0].passage.kind in settings.message_kinds


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
