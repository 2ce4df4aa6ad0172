"""Writes a bench's collection into an index, as the embedder does."""

from collections.abc import Sequence
from pathlib import Path

from qdrant_client import AsyncQdrantClient

from bench.corpora import Collection
from bench.vectors import vectors_of
from infra.models.encoder import Encoder
from infra.models.sparse import AUTHOR_WEIGHT, K1, B, SparseTerms, document_vector, term_id, tokenise
from infra.qdrant.collections import ensure_collection
from infra.qdrant.points import EncodedChunk, author_names, chunk_point, head_point
from schemas.documents import Chunk, DocumentVersion

CONTEXT_WEIGHTS = (0.5, 0.3)
MESSAGE_LENGTH = 20.0
"""Average terms of a message of LoCoMo without stop words; the pipeline's own average is that of a chunk."""
UPSERT = 64


async def index_collection(client: AsyncQdrantClient, collection: Collection, encoder: Encoder, cache: Path) -> str:
    """Write every document with its chunks, terms and sentence vectors; return the name of the Qdrant collection."""
    name = collection.name.lower()
    await ensure_collection(client, name, encoder.dimension)
    places = [(version, chunk) for version in collection.documents for chunk in version.chunks]
    within = [_sentences(collection, version, chunk) for version, chunk in places]
    # of the whole collection, so that whole documents and chunks share what was encoded once
    spans = sorted((external, *span) for external, own in collection.sentences.items() for span in own)
    texts = {version.external_id: version.text for version in collection.documents}
    dense = await vectors_of(encoder, [version.text_of(chunk) for version, chunk in places], cache, f"{name}-chunks")
    said = [texts[key][start:end] for key, start, end in spans]
    told = await vectors_of(encoder, said, cache, f"{name}-sentences") if said else dense[:0]
    row = {span: at for at, span in enumerate(spans)}
    points = []
    for (version, chunk), own, vector in zip(places, within, dense, strict=True):
        rows = told[[row[version.external_id, *span] for span in own]] if own else None
        encoded = EncodedChunk(chunk, vector, _terms(collection, version, chunk), tuple(own), rows)
        points.append(chunk_point(version, encoded))
        if chunk.ordinal == 0:
            points.append(head_point(version))
    for at in range(0, len(points), UPSERT):
        await client.upsert(name, points[at : at + UPSERT], wait=at + UPSERT >= len(points))
    return name


def _sentences(collection: Collection, version: DocumentVersion, chunk: Chunk) -> list[tuple[int, int]]:
    spans = collection.sentences[version.external_id]
    return [(start, end) for start, end in spans if chunk.start <= start and end <= chunk.end]


def _terms(collection: Collection, version: DocumentVersion, chunk: Chunk) -> SparseTerms:
    text = version.text_of(chunk)
    context = collection.context.get(version.external_id)
    if context is None:
        return document_vector(text, version.title, chunk.heading, author_names(version), version.language)
    return _message_vector(text, context, author_names(version))


def _message_vector(text: str, before: Sequence[str], authors: Sequence[str]) -> SparseTerms:
    """BM25F of a message as decision 0005 has it: own text 1, the two before .5 and .3, the speaker 1 with b = 0."""
    frequencies: dict[str, float] = {}
    for words, weight in zip((text, *before), (1.0, *CONTEXT_WEIGHTS), strict=False):
        terms = tokenise(words)
        for term in terms:
            norm = 1 - B + B * len(terms) / MESSAGE_LENGTH
            frequencies[term] = frequencies.get(term, 0.0) + weight / norm
    for term in tokenise(" ".join(authors)):
        frequencies[term] = frequencies.get(term, 0.0) + AUTHOR_WEIGHT
    weights: dict[int, float] = {}
    for term, x in frequencies.items():
        weights[term_id(term)] = weights.get(term_id(term), 0.0) + x * (K1 + 1) / (K1 + x)
    return SparseTerms(tuple(sorted(weights)), tuple(weights[index] for index in sorted(weights)))
