"""Turns chunks into points: sentences, dense vectors, lexical vectors."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np
from qdrant_client.models import PointStruct

from infra.models.encoder import FloatArray
from infra.models.sparse import document_vector
from infra.qdrant.points import EncodedChunk, author_names, chunk_point
from schemas.documents import Chunk, DocumentVersion
from workers.embedder.sentences import Span, sentences_between, sentences_of

Made = TypeVar("Made")

WINDOW = 256
"""Chunks encoded at once: enough to sort by length, and a bound on memory however long a document is."""


PIECE = 32
"""Chunks whose sentences or points are made at once: 30 to 60 ms."""


class Compute(Protocol):
    """Calls a function elsewhere than on the event loop."""

    async def __call__(self, function: Callable[[], Made], /) -> Made:
        """Return what it returns."""


Run = tuple[DocumentVersion, Sequence[int]]
"""Chunk positions of a version, rising."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk of a version with its sentences."""

    version: DocumentVersion
    chunk: Chunk
    sentences: tuple[Span, ...] = ()

    @property
    def texts(self) -> list[str]:
        """The chunk's text, then those of its sentences."""
        text = self.version.text
        return [self.version.text_of(self.chunk), *(text[start:end] for start, end in self.sentences)]


def windows(versions: Iterable[DocumentVersion]) -> Iterator[list[tuple[DocumentVersion, range]]]:
    """Yield runs of chunk positions, `WINDOW` chunks at a time; a window may span documents and cut a long one."""
    positions = ((version, at) for version in versions for at in range(len(version.chunks)))
    while taken := list(islice(positions, WINDOW)):
        runs: list[tuple[DocumentVersion, range]] = []
        for version, at in taken:
            if runs and runs[-1][0] is version:
                runs[-1] = (version, range(runs[-1][1].start, at + 1))
            else:
                runs.append((version, range(at, at + 1)))
        yield runs


async def points_of(
    window: Sequence[Run],
    encode: Callable[[Sequence[str]], Awaitable[FloatArray]],
    compute: Compute = asyncio.to_thread,
) -> list[PointStruct]:
    """Return the chunk points of a window. A text that occurs more than once in it is encoded once.

    `compute` calls what takes the interpreter long, in pieces.
    """
    passages: list[Passage] = []
    for version, positions in window:
        for at in range(0, len(positions), PIECE):
            passages += await compute(partial(_listed, version, positions[at : at + PIECE]))
    unique = list(dict.fromkeys(text for passage in passages for text in passage.texts))
    if not unique:
        return []
    vectors = await encode(unique)
    row_of = {text: row for row, text in enumerate(unique)}
    points: list[PointStruct] = []
    for at in range(0, len(passages), PIECE):
        points += await compute(partial(_points, passages[at : at + PIECE], vectors, row_of))
    return points


def _listed(version: DocumentVersion, positions: Sequence[int]) -> list[Passage]:
    return list(_passages(version, positions))


def _points(passages: Sequence[Passage], vectors: FloatArray, row_of: Mapping[str, int]) -> list[PointStruct]:
    return [_point(passage, vectors[[row_of[text] for text in passage.texts]]) for passage in passages]


def _passages(version: DocumentVersion, positions: Sequence[int]) -> Iterator[Passage]:
    chunks = version.chunks
    first, last = chunks[positions[0]], chunks[positions[-1]]
    spans = sentences_between(version.text, first.start, last.end, version.language)
    low = 0
    for at in positions:
        # Chunks and spans are both in order: what ended before this chunk began is behind all later ones too.
        while low < len(spans) and spans[low][1] <= chunks[at].start:
            low += 1
        high = low
        while high < len(spans) and spans[high][0] < chunks[at].end:
            high += 1
        yield Passage(version, chunks[at], sentences_of(chunks, at, spans[low:high]))


def _point(passage: Passage, vectors: FloatArray) -> PointStruct:
    version = passage.version
    sparse = document_vector(
        version.text_of(passage.chunk),
        title=version.title,
        heading=passage.chunk.heading,
        authors=author_names(version),
        language=version.language,
    )
    encoded = EncodedChunk(passage.chunk, np.asarray(vectors[0]), sparse, passage.sentences, np.asarray(vectors[1:]))
    return chunk_point(version, encoded)
