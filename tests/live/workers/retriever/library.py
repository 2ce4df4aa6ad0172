"""A small corpus in a real index: documents in, questions out, through the code that runs in production."""

from collections.abc import Sequence
from dataclasses import dataclass

from qdrant_client import AsyncQdrantClient, models

from infra.models.encoder import Encoder
from infra.models.sparse import document_vector
from infra.postgres.indexes import Index
from infra.qdrant.points import EncodedChunk, author_names, chunk_point, head_point
from schemas.chat import ChatRequest, Passage
from schemas.documents import DocumentVersion
from tests.chats import request
from workers.retriever.embed import QuestionEmbedder
from workers.retriever.retrieve import Retrieved, Retriever
from workers.retriever.settings import RetrieverSettings

UPSERT = 50


@dataclass
class Library:
    """One collection as the live index. Sentences end with ". " here."""

    client: AsyncQdrantClient
    collection: str
    encoder: Encoder
    embedder: QuestionEmbedder

    async def add(self, *versions: DocumentVersion) -> None:
        points: list[models.PointStruct] = []
        for version in versions:
            points.append(head_point(version))
            points.extend([chunk_point(version, encoded) for encoded in await self._encoded(version)])
        for at in range(0, len(points), UPSERT):
            await self.client.upsert(self.collection, points[at : at + UPSERT], wait=True)

    async def _encoded(self, version: DocumentVersion) -> list[EncodedChunk]:
        texts = [version.text_of(chunk) for chunk in version.chunks]
        dense = await self.encoder.encode_documents(texts)
        encoded = []
        for chunk, text, vector in zip(version.chunks, texts, dense, strict=True):
            spans = spans_of(text, chunk.start)
            vectors = await self.encoder.encode_documents([version.text[start:end] for start, end in spans])
            sparse = document_vector(text, version.title, chunk.heading, author_names(version), version.language)
            encoded.append(EncodedChunk(chunk, vector, sparse, tuple(spans), vectors))
        return encoded

    def retriever(self, **settings: object) -> Retriever:
        async def live() -> Index:
            return Index("test-index", self.collection, self.encoder.model_id, self.encoder.dimension, "live")

        given = RetrieverSettings.model_validate(settings)
        return Retriever(self.client, live, lambda _: self.encoder, self.embedder, given)

    async def ask(self, question: str, **fields: object) -> Retrieved:
        return await self.retriever().retrieve(request(question, **fields))  # type: ignore[arg-type]

    async def passages(self, question: str, **fields: object) -> Sequence[Passage]:
        return (await self.ask(question, **fields)).passages

    async def about(self, asked: ChatRequest) -> Retrieved:
        return await self.retriever().retrieve(asked)


def spans_of(text: str, offset: int) -> list[tuple[int, int]]:
    spans, start = [], 0
    for part in text.split(". "):
        end = min(len(text), start + len(part) + 1)
        spans.append((offset + start, offset + end))
        start = end + 1
    return spans
