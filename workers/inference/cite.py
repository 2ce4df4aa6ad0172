"""Turns passages and markers into citations whose quotes stand literally in the document."""

import re
from collections.abc import Sequence, Set

from infra.models.sparse import tokenise
from schemas.chat import MARKER, Citation, Passage, markers

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
QUOTE_CHARACTERS = 400
"""Longest quote where a passage has no sentences."""


def citation_of(passage: Passage, start: int, end: int) -> Citation:
    """Return the citation of `[start:end)` (offsets into the document's text), white space at its ends left out.

    Raises ValueError if that is not within the passage or is blank: the quote could not be shown to be literal.
    """
    if not passage.start <= start < end <= passage.end:
        raise ValueError(f"[{start}:{end}] is outside the passage [{passage.start}:{passage.end}]")
    whole = passage.text[start - passage.start : end - passage.start]
    quote = whole.strip()
    if not quote:
        raise ValueError("a citation quotes something")
    start += len(whole) - len(whole.lstrip())
    return Citation(
        number=passage.number,
        document_id=passage.document_id,
        version=passage.version,
        start=start,
        end=start + len(quote),
        quote=quote,
        title=passage.title,
        url=passage.url,
        source=passage.source,
    )


def named(passages: Sequence[Passage]) -> str:
    """Return the passages by name and number, for a sentence that says what was looked at."""
    names = (f"{passage.title or passage.url or passage.kind} [{passage.number}]" for passage in passages)
    return ", ".join(dict.fromkeys(names))


def citations_in(text: str, passages: Sequence[Passage]) -> tuple[Citation, ...]:
    """Return a citation for each passage that `text` marks as [n], [n, m] or [n][m], by first marker, each once.

    The quote is the sentence of the passage that shares most terms with what was said before the marker; numbers that
    no passage has are left out.
    """
    by_number = {passage.number: passage for passage in passages}
    citations: dict[int, Citation] = {}
    said_from = 0
    for start, end, numbers in markers(text):
        said = _last_statement(text[said_from:start]) or _last_statement(text[:start])
        for number in numbers:
            passage = by_number.get(number)
            if passage is not None and number not in citations and passage.text.strip():
                citations[number] = citation_of(passage, *_best_sentence(passage, frozenset(tokenise(said))))
        said_from = end
    return tuple(citations.values())


def _last_statement(text: str) -> str:
    parts = [part for part in _SENTENCE_END.split(MARKER.sub(" ", text)) if tokenise(part)]
    return parts[-1] if parts else ""


def _best_sentence(passage: Passage, said: Set[str]) -> tuple[int, int]:
    """Return the span of the sentence closest to `said` (Dice coefficient of the terms; the cosine settles ties)."""
    scored = []
    for sentence in passage.sentences:
        text = passage.text[max(0, sentence.start - passage.start) : sentence.end - passage.start]
        if passage.start <= sentence.start and sentence.end <= passage.end and text.strip():
            terms = frozenset(tokenise(text))
            dice = 2 * len(terms & said) / ((len(terms) + len(said)) or 1)
            scored.append((dice, sentence.cosine, -sentence.start, sentence.end))
    if scored:
        _, _, start, end = max(scored)
        return -start, end
    lead = len(passage.text) - len(passage.text.lstrip())
    return passage.start + lead, min(passage.end, passage.start + lead + QUOTE_CHARACTERS)
