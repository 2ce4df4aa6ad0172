"""What speaks for each sentence as an answer, and for there being one at all.

Two linear models over signals that can be read off: `standing` orders sentences, `support` says how probable it is that
the best ones answer. Both were fitted on half of XQuAD-en's articles, with and without titles, the second on
SciFact's claims too, each question once with what answers it and once without. How well they do: docs/quality.md.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from infra.models.sparse import tokenise
from schemas.chat import ChatPrompt, Passage, Sentence
from workers.inference.coverage import Asked, answer_type, asked_by, identified, neighbour_coverage, passage_coverage

MOST_TERMS = 12
"""Terms that are counted of a question: a pasted text has many, and misses most of them wherever it is answered."""
MOST_LEAD = 0.4
"""Leads count up to here, as far as most of those go that the weights were fitted on: among a handful of documents any
passage leads by more. Where there is no other document there is no lead."""
STANDING = (5.35, 4.5, 4.03, 3.07, 1.14, 7.0, 0.41, -0.63, 0.44)
"""Weights of `Candidate.signals`, by a softmax over the sentences of a question: cosine of the sentence; covN; coverage
by it, by the one before, by the one after; cosine of the passage; the type asked for held, lacking; length."""
SUPPORT = (7.07, 1.57, 3.13, -0.93, -0.5, -0.22, 0.07, 2.85, 0.57, 1.12)
"""Weights of `support_signals`, by logistic regression: best cosine of a sentence; best coverage by a passage; coverage
by the best sentence; its type lacking; names, numbers and codes missing, terms missing, terms asked; the lead of its
passage by score, coverage, cosine over other documents. That of the missing names is set, not fitted: SQuAD's questions
are never made wrong by a swapped name, those of people are."""
SUPPORT_BIAS = -6.87


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence that may answer, with its raw signals."""

    passage: Passage
    sentence: Sentence
    text: str
    coverage: float
    """covN of the sentence."""
    within: float
    """Share of the question's terms, by weight, in the sentence or the title; the next two: only in the neighbours."""
    before: float
    after: float
    passage_coverage: float
    passage_cosine: float
    length: float
    """Logarithm of its terms, at least those of five."""
    typed: bool | None
    """Whether it holds what the question word asks for; None where that is not known."""
    missing: int
    """Terms of the question that passage and title lack, of at most `MOST_TERMS`."""
    missing_named: int
    """Names, numbers and identifiers of the question among them."""
    identified: float = 0.0
    """What the question's codes say of the passage, -1 to 1."""

    def signals(self) -> tuple[float, ...]:
        """Return what `standing` weighs, in the order of `STANDING`."""
        return (
            self.sentence.cosine,
            self.coverage,
            self.within,
            self.before,
            self.after,
            self.passage_cosine,
            float(self.typed is True),
            float(self.typed is False),
            self.length,
        )


def candidates_of(prompt: ChatPrompt, passages: Sequence[Passage]) -> list[Candidate]:
    """Return the sentences of `passages` with their raw signals; a sentence in two overlapping passages counts once."""
    asked = asked_by(prompt.question, prompt.term_weights)
    found: dict[tuple[UUID, int, int], Candidate] = {}
    for passage in passages:
        for candidate in _of_passage(passage, prompt.term_weights, asked):
            span = candidate.sentence
            found.setdefault((passage.document_id, span.start, span.end), candidate)
    return list(found.values())


def _of_passage(passage: Passage, weights: Mapping[str, float], asked: Asked) -> list[Candidate]:
    title, whole = frozenset(tokenise(passage.title)), frozenset(tokenise(passage.text))
    held = whole | title
    missing = sum(term not in held for term in weights) * min(1.0, MOST_TERMS / max(1, len(weights)))
    covered, named = passage_coverage(weights, whole, title), asked.missing(held)
    coded = identified(weights, whole, title)
    # A passage that only the list of words held has no cosine of its own.
    cosine = passage.cosine or max((one.cosine for one in passage.sentences), default=0.0)
    spans = []
    for sentence in passage.sentences:
        text = passage.text[max(0, sentence.start - passage.start) : sentence.end - passage.start]
        if sentence.start >= passage.start and sentence.end <= passage.end and text.strip():
            # Else it is cut off by the passage's edge: its quote could not be shown whole.
            spans.append((sentence, text, tokenise(text)))
    terms = [frozenset(), *(frozenset(listed) for _, _, listed in spans), frozenset()]
    return [
        Candidate(
            passage,
            sentence,
            text,
            coverage=neighbour_coverage(weights, terms[at], terms[at - 1], whole, title),
            within=passage_coverage(weights, terms[at], title),
            before=passage_coverage(weights, terms[at - 1] - terms[at] - title, frozenset()),
            after=passage_coverage(weights, terms[at + 1] - terms[at] - title, frozenset()),
            passage_coverage=covered,
            passage_cosine=cosine,
            length=math.log(max(5, len(listed))),
            typed=answer_type(asked, text),
            missing=round(missing),
            missing_named=named,
            identified=coded,
        )
        for at, (sentence, text, listed) in enumerate(spans, start=1)
    ]


def standing(candidate: Candidate) -> float:
    """Return how a sentence stands among the others of its question; only differences mean something."""
    return sum(weight * signal for weight, signal in zip(STANDING, candidate.signals(), strict=True))


def support(best: Candidate, candidates: Sequence[Candidate], terms: int, bias: float = 0.0) -> float:
    """Return the topical support of `best`, 0 to 1, in a question of so many terms; `bias` is added to its log odds."""
    signals = support_signals(best, candidates, terms)
    logit = SUPPORT_BIAS + bias + sum(weight * signal for weight, signal in zip(SUPPORT, signals, strict=True))
    return 1 / (1 + math.exp(-logit))


def support_signals(best: Candidate, candidates: Sequence[Candidate], terms: int) -> tuple[float, ...]:
    """Return what `support` weighs, in the order of `SUPPORT`.

    The leads are those over passages of other documents: where a neighbouring fact of the same subject is all there
    is, several passages do about as well.
    """
    passages = {one.passage.number: one for one in candidates}.values()
    others = [one for one in passages if one.passage.document_id != best.passage.document_id]
    top = max(one.passage.score for one in passages)
    return (
        max(one.sentence.cosine for one in candidates),
        max(one.passage_coverage for one in passages),
        best.within,
        float(best.typed is False),
        float(best.missing_named),
        float(best.missing),
        float(min(terms, MOST_TERMS)),
        _lead(best.passage.score, [one.passage.score for one in others]) / (top or 1.0),
        _lead(best.passage_coverage, [one.passage_coverage for one in others]),
        _lead(best.passage_cosine, [one.passage_cosine for one in others]),
    )


def _lead(best: float, others: Sequence[float]) -> float:
    return min(MOST_LEAD, best - max(others)) if others else 0.0
