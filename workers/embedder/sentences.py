"""Finds the sentences of a chunk, as spans of the document's text: what an extractive answer can quote."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from sentencex import get_sentence_boundaries  # type: ignore[import-untyped]  # ships no types

from schemas.documents import Chunk

Span = tuple[int, int]
"""Start and end in code points of the document's text."""

MARGIN = 2_000
"""Code points of context on both sides of the part that is segmented, so that its first sentence starts where it does
in the whole text."""
MOST_PER_CHUNK = 64
"""More in 1,000 characters is a table of numbers; each costs as many bytes of payload as the model has dimensions."""
LEAST_PART = 20
"""Code points of a long sentence that must lie in a chunk to be worth quoting."""

_BLOCK = re.compile(r"\n(?=[ \t]*(?:[-*+\u2022][ \t]|\d{1,3}[.)][ \t]|#{1,6}[ \t]|[>|]|```|~~~))|(?<=\n)(?=\n)")
"""Line breaks where Markdown starts a block of its own; any other single break may be a wrapped line of prose."""
_HEADING = re.compile(r"[ \t]*#{1,6}[ \t][^\n]*")
_MARK = re.compile(r"(?:[^\w\n]*\n)*[\s>|]*(?:[-*+\u2022][ \t]+|\d{1,3}[.)][ \t]+|```\w*|~~~)*[\s|]*")
_WORD = re.compile(r"\w\w")


def sentences_between(text: str, start: int, end: int, language: str) -> list[Span]:
    """Return the sentences of `text` that touch [start, end), in order, without surrounding marks and spaces.

    Headings are left out: they hold the words of a question and never its answer. `language` is ISO 639-1; sentence
    rules of English apply where it is empty or unknown.
    """
    low, high = max(0, start - MARGIN), min(len(text), end + MARGIN)
    found: list[Span] = []
    for first, last in _boundaries(text[low:high], language or "en"):
        for block in _blocks(text, low + first, low + last):
            span = _trimmed(text, *block)
            if span[0] < end and span[1] > start and _WORD.search(text, *span):
                found.append(span)
    return found


def _boundaries(text: str, language: str) -> Iterator[Span]:
    for boundary in get_sentence_boundaries(language, text):
        yield boundary["start_index"], boundary["end_index"]


def _blocks(text: str, start: int, end: int) -> Iterator[Span]:
    cuts = [start, *(match.start() for match in _BLOCK.finditer(text, start, end)), end]
    for first, last in pairwise(cuts):
        heading = _HEADING.match(text, first + (text[first : first + 1] == "\n"), last)
        yield (heading.end(), last) if heading else (first, last)


def _trimmed(text: str, start: int, end: int) -> Span:
    mark = _MARK.match(text, start, end)
    start = mark.end() if mark else start
    end = start + len(text[start:end].rstrip())
    # A last line without a word is a rule, a fence or an underline.
    while (line := text.rfind("\n", start, end)) >= 0 and not _WORD.search(text, line, end):
        end = start + len(text[start:line].rstrip())
    return start, end


def sentences_of(chunks: Sequence[Chunk], position: int, spans: Sequence[Span]) -> tuple[Span, ...]:
    """Return the spans that belong to `chunks[position]`: those that lie in it.

    A sentence that no chunk holds whole (a very long one, or one cut at the edge) belongs in part to each chunk that
    it touches, so that nothing of the text is beyond quoting.
    """
    chunk = chunks[position]
    beside = [chunks[at] for at in (position - 1, position + 1) if 0 <= at < len(chunks)]
    mine: list[Span] = []
    for start, end in spans:
        if chunk.start <= start and end <= chunk.end:
            mine.append((start, end))
        elif not any(other.start <= start and end <= other.end for other in beside):
            first, last = max(start, chunk.start), min(end, chunk.end)
            if last - first >= LEAST_PART:
                mine.append((first, last))
    return tuple(mine[:MOST_PER_CHUNK])
