"""How much of a question a sentence or a passage covers."""

import re
from collections.abc import Mapping, Sequence, Set

from infra.models.identifiers import is_code

IN_SENTENCE = 1.0
IN_PREVIOUS = 0.5
IN_PASSAGE = 0.3
"""Value of a question's term by where it stands: the sentence or the title, the sentence before, the rest of the
passage (tuned on half of XQuAD-en's articles, decision 0005)."""


def neighbour_coverage(
    weights: Mapping[str, float], sentence: Set[str], previous: Set[str], passage: Set[str], title: Set[str]
) -> float:
    """Return covN: the share, 0 to 1, of the question's terms that the sentence and its surroundings hold.

    `weights` has each term's inverse document frequency; the sets hold stemmed terms.
    """
    total = sum(weights.values())
    if total <= 0:
        return 0.0
    covered = 0.0
    for term, weight in weights.items():
        if term in sentence or term in title:
            covered += IN_SENTENCE * weight
        elif term in previous:
            covered += IN_PREVIOUS * weight
        elif term in passage:
            covered += IN_PASSAGE * weight
    return covered / total


def passage_coverage(weights: Mapping[str, float], passage: Set[str], title: Set[str]) -> float:
    """Return the share, 0 to 1, of the question's terms, by their weight, that the passage or its title holds."""
    total = sum(weights.values())
    return sum(weight for term, weight in weights.items() if term in passage or term in title) / total if total else 0.0


def identified(weights: Mapping[str, float], passage: Set[str], title: Set[str]) -> float:
    """Return what the question's codes (`infra.models.identifiers.is_code`) say of a passage.

    1 if it or its title holds them all, -1 if none, by their weights between; 0 for a question without one.
    """
    codes = {term: weight for term, weight in weights.items() if is_code(term)}
    return 2 * passage_coverage(codes, passage, title) - 1 if sum(codes.values()) > 0 else 0.0


_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_ANSWERS: Sequence[tuple[re.Pattern[str], re.Pattern[str]]] = (
    (
        re.compile(r"\b(when|what (?:year|date|day|month)|which (?:year|date|day|month))\b", re.IGNORECASE),
        re.compile(rf"\b(?:1\d{{3}}|20\d{{2}}|\d{{1,2}}:\d{{2}}|{_MONTHS}|yesterday|today|century)\b", re.IGNORECASE),
    ),
    (
        re.compile(r"\bhow (?:many|much|long|old|far|often|tall|big|large)\b", re.IGNORECASE),
        re.compile(r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|dozen|hundred|thousand|million)\b", re.I),
    ),
    (re.compile(r"\b(?:who|whom|whose)\b", re.IGNORECASE), re.compile(r"(?<!^)(?<![.!?] )\b[A-Z][a-z]+|@\w+")),
    (
        re.compile(r"\bwhere\b", re.IGNORECASE),
        re.compile(r"\b(?:in|at|near|from|on|to|under|inside|outside) (?:the )?[A-Z/`]"),
    ),
    (
        re.compile(r"\b(?:why|what (?:causes?|caused))\b", re.IGNORECASE),
        re.compile(r"\b(?:because|since|due to|so that|in order to|therefore|as a result|caused?)\b", re.IGNORECASE),
    ),
)


def has_type(question: str, sentence: str) -> bool:
    """Say whether the sentence holds what the question word asks for: a time, a number, a name, a place, a reason.

    False for questions of another type. English patterns: for other languages the signal is silent, not wrong.
    """
    return any(asks.search(question) and gives.search(sentence) for asks, gives in _ANSWERS)
