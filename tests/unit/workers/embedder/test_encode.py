from collections.abc import Sequence

import numpy as np

from infra.models.encoder import FloatArray, Use
from infra.models.hashed import HashEncoder
from infra.qdrant.points import DENSE, SPARSE, Key, Part, read_sentences
from schemas.documents import Author, Chunk, DocumentVersion
from tests.events import AT, document
from workers.embedder.encode import WINDOW, points_of, windows


class Counting(HashEncoder):
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def _vectors(self, texts: Sequence[str], use: Use) -> FloatArray:
        self.asked.extend(texts)
        return await super()._vectors(texts, use)


def chunked(text: str, count: int, **fields: object) -> DocumentVersion:
    size = len(text) // count
    chunks = tuple(Chunk(ordinal=n, start=n * size, end=(n + 1) * size) for n in range(count))
    return document(text, chunks=chunks, **fields)  # type: ignore[arg-type]


def test_windows_hold_so_many_chunks_across_documents_and_lose_none() -> None:
    versions = [chunked("x" * 600, 300, external_id="a"), chunked("y" * 4, 2, external_id="b")]
    found = list(windows(versions))
    assert [sum(len(positions) for _, positions in window) for window in found] == [WINDOW, 302 - WINDOW]
    assert [(version.external_id, positions) for version, positions in found[1]] == [
        ("a", range(WINDOW, 300)),
        ("b", range(2)),
    ]


async def test_a_point_holds_what_a_passage_needs() -> None:
    text = "Brokers elect leaders. Followers copy the log."
    version = document(
        text,
        title="Guide",
        authors=(Author(name="Ada L", handle="ada"),),
        updated_at=AT,
        metadata={"team": "x", "tags": ("a", "b")},
        language="en",
    )
    (point,) = await points_of([(version, range(1))], HashEncoder().encode_documents)
    payload = point.payload
    assert payload is not None
    assert payload[Key.PART] == Part.CHUNK
    assert payload[Key.TEXT] == text
    assert payload[Key.AUTHORS] == ["ada l", "ada"]
    assert payload[Key.UPDATED_AT] == AT.timestamp()
    assert payload[Key.METADATA] == {"team": "x", "tags": ["a", "b"]}
    assert isinstance(point.vector, dict)
    assert set(point.vector) == {DENSE, SPARSE}
    spans, vectors = read_sentences(payload)
    assert [text[start:end] for start, end in spans] == ["Brokers elect leaders.", "Followers copy the log."]
    exact = await HashEncoder().encode_documents(["Brokers elect leaders.", "Followers copy the log."])
    assert np.abs((vectors * exact).sum(axis=1) - 1).max() < 0.01


async def test_a_text_that_occurs_twice_is_encoded_once() -> None:
    encoder = Counting()
    text = "The same sentence stands here."
    versions = [document(text, external_id="a"), document(text, external_id="b")]
    points = await points_of([(version, range(1)) for version in versions], encoder.encode_documents)
    assert encoder.asked == [text]
    assert points[0].vector == points[1].vector
    assert points[0].id != points[1].id
