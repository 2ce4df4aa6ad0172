"""How much of a question a sentence or a passage covers, and what of it is missing."""

import re
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass

from infra.models.identifiers import identifiers, is_code, normalised
from infra.models.sparse import tokenise

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


_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_TITLE_CASE = 0.6
"""Above this share of capitals a question is written as a title, and its capitals name nothing."""
_ENGLISH = re.compile(r"\b(?:the|of|what|who|whom|whose|when|where|which|how|why|does|did|is|are)\b", re.IGNORECASE)
"""Marks a question whose capitals are names: German writes every noun with one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question says that an answer's passage can hardly do without."""

    question: str
    words: frozenset[str]
    """All its words, lower case."""
    named: frozenset[str]
    """Terms of the names (capitals within the question), numbers and identifiers in it."""

    def missing(self, terms: Collection[str]) -> int:
        """Return how many of the named terms are not among `terms`."""
        return sum(term not in terms for term in self.named)


def asked_by(question: str, weights: Collection[str]) -> Asked:
    """Read a question of these terms. An asked year, person or code counts as named; a first word does not."""
    written = _WORD.findall(question)
    capitals = [word for word in written[1:] if word[0].isupper()]
    names = capitals if len(capitals) <= _TITLE_CASE * len(written) and _ENGLISH.search(question) else []
    numbers = [word for word in written if any(character.isdigit() for character in word)]
    named = {*tokenise(" ".join([*names, *numbers])), *identifiers(normalised(question))}
    return Asked(question, frozenset(word.lower() for word in written), frozenset(named & set(weights)))


_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_NUMBER_WORDS = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozens?|twenty|thirty|forty|fifty|sixty|hundreds?|"
    "thousands?|millions?|billions?|half|thirds?|quarters?|twice|once|both|several"
)
_TIMES = "years?|dates?|days?|months?|century|centuries|decades?|era|period"
_SIZES = "percentage|percent|number|amount|population|proportion|fraction|score|rate|cost|price|size|speed|distance|age"
_PLACES = "city|cities|country|countries|states?|town|region|continent|place|river|island|location|county"
_ANSWERS: Sequence[tuple[re.Pattern[str], re.Pattern[str]]] = (
    (
        re.compile(
            r"\bhow (?:many|much|long|old|far|often|tall|big|large|high|deep|fast|heavy|wide)\b"
            rf"|\b(?:what|which)(?: \w+)* (?:{_SIZES})\b",
            re.IGNORECASE,
        ),
        re.compile(rf"\b\d[\d.,:]*|\b(?:{_NUMBER_WORDS})\b", re.IGNORECASE),
    ),
    (
        re.compile(rf"\bwhen\b|\b(?:what|which)(?: \w+)? (?:{_TIMES})\b", re.IGNORECASE),
        re.compile(
            rf"\b(?:1\d{{3}}|20\d{{2}})s?\b|\b\d{{1,2}}:\d{{2}}\b|\b(?:{_MONTHS}|yesterday|today|tomorrow|century|"
            r"decade|(?:mon|tues|wednes|thurs|fri|satur|sun)day)\b",
            re.IGNORECASE,
        ),
    ),
    (
        re.compile(r"\b(?:who|whom|whose)\b", re.IGNORECASE),
        re.compile(r"(?<!^)(?<![.!?] )\b[A-Z][a-z]+|@\w+|(?<!^)\b[A-Z][\w'’.-]+"),
    ),
    (
        re.compile(rf"\bwhere\b|\b(?:what|which)(?: \w+)? (?:{_PLACES})\b", re.IGNORECASE),
        re.compile(
            r"\b(?:in|at|near|from|on|to|of|under|inside|outside|across|through|into) (?:the )?([A-Z/`][\w'’.-]*)"
        ),
    ),
    (
        re.compile(r"\b(?:why|what (?:causes?|caused))\b", re.IGNORECASE),
        re.compile(
            r"\b(?:because|since|due to|so that|in order to|therefore|as a result|caused?|led to|owing|thus|hence)\b",
            re.IGNORECASE,
        ),
    ),
)


def answer_type(asked: Asked, sentence: str) -> bool | None:
    """Say whether the sentence holds what is asked for: a number, a time, a name, a place, a reason.

    What the question itself says is no answer to it: "In which year after 1914 …" is not answered by 1914. None for
    questions of another type. English patterns: for other languages the signal is silent, not wrong.
    """
    for asks, gives in _ANSWERS:
        if asks.search(asked.question):
            return any(
                any(word.lower() not in asked.words for word in _WORD.findall(found.group(found.lastindex or 0)))
                for found in gives.finditer(sentence)
            )
    return None
