"""The rule by which the extractive answerer chose and abstained before, for comparisons in one run.

S = .4 covN + .3 passage + .2 cos + .1 type, each clipped at 0 and divided by its maximum over the sentences; up to two
sentences, the second from .85 of the first one's S on; answered where sigmoid(8 cos + 6 covPassage - 8) >= .3.
"""

import math
import re
from collections.abc import Mapping, Sequence

from infra.models.sparse import tokenise
from schemas.chat import Passage, Sentence
from workers.inference.coverage import neighbour_coverage, passage_coverage

ANSWERED_FROM = 0.3
SECOND_FROM = 0.85
_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_TYPES = (
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


def former(question: str, passages: Sequence[Passage], weights: Mapping[str, float]) -> tuple[float, list[str]]:
    """Return the support and the sentences that the former rule gives, the abstention left out."""
    rows: list[tuple[tuple[float, ...], Sentence, str, float]] = []
    for passage in passages:
        title, whole = frozenset(tokenise(passage.title)), frozenset(tokenise(passage.text))
        covered, previous = passage_coverage(weights, whole, title), frozenset[str]()
        for one in passage.sentences:
            text = passage.text[max(0, one.start - passage.start) : one.end - passage.start]
            if one.start < passage.start or one.end > passage.end or not text.strip():
                continue
            terms = frozenset(tokenise(text))
            typed = any(asks.search(question) and gives.search(text) for asks, gives in _TYPES)
            near = neighbour_coverage(weights, terms, previous, whole, title)
            rows.append(((near, passage.score, one.cosine, float(typed)), one, text, covered))
            previous = terms
    if not rows:
        return 0.0, []
    most = [max(0.0, *(row[0][at] for row in rows)) or 1.0 for at in range(4)]
    shares = (0.4, 0.3, 0.2, 0.1)
    scored = [
        (sum(share * max(0.0, row[0][at]) / most[at] for at, share in enumerate(shares)), at)
        for at, row in enumerate(rows)
    ]
    scored.sort(key=lambda pair: -pair[0])
    first, best = scored[0][0], rows[scored[0][1]]
    chosen = [best[2]]
    for score, at in scored[1:]:
        if len(chosen) == 2 or score < SECOND_FROM * first:
            break
        if rows[at][2].casefold() != best[2].casefold():
            chosen.append(rows[at][2])
    return 1 / (1 + math.exp(-(8 * best[1].cosine + 6 * best[3] - 8))), chosen
