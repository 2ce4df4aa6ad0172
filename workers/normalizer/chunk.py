"""Cuts a text into overlapping passages at its own structure: headings, paragraphs, sentences, words.

Offsets are Unicode code points of the text that was given: `text[start:end]` is the passage, nothing is trimmed or
replaced afterwards.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from schemas.documents import Chunk
from workers.normalizer.sources.draft import Format

MOST = 20_000
"""Chunks of one document: a table of 100,000 rows, or ten minutes of encoding on two cores."""
SIZE = 1_000
OVERLAP = 100
_WINDOW = 20
"""The splitter's time grows with the square of an unbroken line (8 s for 1 MB), so it sees 20 chunks' worth at once:
measured 0.2 s per MB on one line, .05 s on prose."""

_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_MAX_HEADING = 200


def cut(
    text: str, form: Format = "markdown", size: int = SIZE, overlap: int = OVERLAP, most: int = MOST
) -> tuple[Chunk, ...]:
    """Return the chunks of `text`, each of at most `size` code points and sharing up to `overlap` with the one before.

    Behind the first `most` of them the text is in none: `left_out` says how much.
    Raises ValueError unless 0 <= overlap < size.
    """
    headings = tuple(_headings(text)) if form == "markdown" else ()
    places = [place for place, _ in headings]
    chunks: list[Chunk] = []
    covered = 0
    for start, end in _spans(text, form, size, overlap):
        if len(chunks) == most:
            break
        if not text[start:end].strip():
            # The splitter leaves out blank chunks, but keeps U+001C to U+001F, which are blank in Python's sense.
            continue
        # What the chunk repeats of the one before may still stand under the previous heading.
        fresh = max(start, covered)
        fresh += len(text[fresh:end]) - len(text[fresh:end].lstrip())
        at = bisect_right(places, fresh) - 1
        chunks.append(Chunk(ordinal=len(chunks), start=start, end=end, heading=headings[at][1] if at >= 0 else ""))
        covered = end
    return tuple(chunks)


def left_out(text: str, chunks: Sequence[Chunk]) -> int:
    """Return how many code points at the end of `text` are in none of `chunks`, 0 if only blanks are."""
    end = chunks[-1].end if chunks else 0
    return len(text) - end if text[end:].strip() else 0


@lru_cache(maxsize=8)
def _splitter(markdown: bool, size: int, overlap: int) -> MarkdownSplitter | TextSplitter:
    return MarkdownSplitter(size, overlap=overlap) if markdown else TextSplitter(size, overlap=overlap)


def _spans(text: str, form: Format, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield chunk spans window by window; the next window begins where the last, perhaps cut, chunk began."""
    if not 0 <= overlap < size:
        raise ValueError(f"overlap {overlap} is not within 0 and size {size}")
    splitter = _splitter(form == "markdown", size, overlap)
    position = 0
    while position < len(text):
        window = text[position : position + _WINDOW * size]
        whole = position + len(window) == len(text)
        spans = [(position + at, position + at + len(part)) for at, part in splitter.chunk_indices(window)]
        if whole or not spans:
            yield from spans
            position += len(window)
        elif len(spans) > 1:
            yield from spans[:-1]
            position = spans[-1][0]
        elif spans[0][0] > position:
            position = spans[0][0]
        else:
            # One chunk and then only blanks up to the window's end: it is complete.
            yield spans[0]
            position = spans[0][1]


def _headings(text: str) -> Iterator[tuple[int, str]]:
    """Yield (offset, path) of each Markdown heading outside code fences; CommonMark 4.2 (ATX) and 4.3 (setext).

    A scan by line, since a full CommonMark parse takes 2 s per MB and only headings are wanted.
    """
    path: list[tuple[int, str]] = []
    fence = ""
    place, previous, previous_place = 0, "", 0
    for line in text.split("\n"):
        level, title, at = 0, "", place
        if fence:
            closing = _FENCE.match(line)
            if closing and closing[1].startswith(fence) and not line.strip(" \t`~"):
                fence = ""
        elif opening := _FENCE.match(line):
            fence = opening[1]
        elif atx := _HEADING.match(line):
            level, title = len(atx[1]), atx[2] or ""
        elif previous.strip() and (setext := _UNDERLINE.match(line)):
            level, title, at = (1 if setext[1][0] == "=" else 2), previous, previous_place
        if level and title.strip():
            path = [(above, name) for above, name in path if above < level] + [(level, title.strip()[:_MAX_HEADING])]
            yield at, " > ".join(name for _, name in path)
        previous = "" if level or fence else line
        previous_place = place
        place += len(line) + 1
