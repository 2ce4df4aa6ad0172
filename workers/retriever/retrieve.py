"""Finds the passages for a question."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from qdrant_client import AsyncQdrantClient

from infra.models.encoder import Encoder, FloatArray
from infra.models.sparse import is_one_word, query_vector, tokenise
from infra.postgres.indexes import Index
from infra.qdrant.points import without_documents
from infra.telemetry.metrics import Metric, observe
from schemas.chat import ChatRequest, Passage
from workers.retriever.choose import Span, choose, choose_grouped
from workers.retriever.embed import QuestionEmbedder
from workers.retriever.filters import searchable
from workers.retriever.fuse import Candidate, fuse
from workers.retriever.passages import passage_of
from workers.retriever.question import Question, possible_names, read_question, without_names
from workers.retriever.settings import RetrieverSettings
from workers.retriever.store import Found, IndexReader

MOST_TERMS = 24
"""Terms of a question whose weights are asked for: more come only from pasted text, where single terms matter less."""
FURTHER_SEARCHES = 8
"""Most searches for further documents where documents are counted; each finds some, and costs what a search costs."""
SPARE = 2
"""Candidates looked at per passage wanted, so that replaced, deleted and repeated ones leave no gap."""


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What was found for a question, and by what."""

    question: Question
    index_id: str = ""
    passages: tuple[Passage, ...] = ()
    term_weights: dict[str, float] = field(default_factory=dict)
    vector: FloatArray | None = None
    """Of the whole question, names included."""
    encoder: str = ""

    @classmethod
    def of(cls, request: ChatRequest) -> "Retrieved":
        """Return the question alone, of a request that wants no sources."""
        return cls(read_question(request.messages))


class Retriever:
    """Embeds, searches, fuses and chooses, in the live index and with that index's model."""

    def __init__(
        self,
        client: AsyncQdrantClient,
        live: Callable[[], Awaitable[Index]],
        encoder_of: Callable[[Index], Encoder],
        embedder: QuestionEmbedder,
        settings: RetrieverSettings,
    ) -> None:
        self._client = client
        self._live = live
        self._encoder_of = encoder_of
        self._embedder = embedder
        self._settings = settings

    async def retrieve(self, request: ChatRequest) -> Retrieved:
        """Return the passages for the conversation's question, best first. Raises Transient, Permanent."""
        started = perf_counter()
        question = read_question(request.messages)
        index = await self._live()
        reader = IndexReader(self._client, index.collection)
        encoder = self._encoder_of(index)
        whole, vector, names = await self._understood(encoder, reader, request.workspace, question.searched)
        terms = list(dict.fromkeys(tokenise(question.searched)))[:MOST_TERMS]
        limit = max(self._settings.candidates, request.top_k)
        found = await self._found(reader, request, vector=vector, text=question.searched, terms=terms, limit=limit)
        passages, weights = await asyncio.gather(
            self._passages(reader, request, self._ranked(question, found, names, limit), found, vector),
            reader.weights(request.workspace, terms, found.seen_weights),
        )
        observe(Metric.SEARCH_SECONDS, perf_counter() - started)
        return Retrieved(question, index.index_id, tuple(passages), weights, whole, encoder.model_id)

    async def _found(
        self,
        reader: IndexReader,
        request: ChatRequest,
        *,
        vector: FloatArray,
        text: str,
        terms: Sequence[str],
        limit: int,
    ) -> Found:
        """Return the candidates. Where documents are counted, the search goes on behind those that are found: a large
        document alone can fill both lists.
        """
        within, sparse = searchable(request.workspace, request.filters), query_vector(text)
        found = await reader.search(request.workspace, within, dense=vector, sparse=sparse, terms=terms, limit=limit)
        more = found
        for _ in range(FURTHER_SEARCHES if request.group_by else 0):
            if len(found.documents) >= SPARE * request.top_k or not more.is_cut(limit):
                break
            beyond = without_documents(within, found.documents)
            more = await reader.search(request.workspace, beyond, dense=vector, sparse=sparse, terms=(), limit=limit)
            found = found.with_more(more)
        return found

    async def _understood(
        self, encoder: Encoder, reader: IndexReader, workspace: str, text: str
    ) -> tuple[FloatArray, FloatArray, Sequence[str]]:
        """Return the question's vector, that of what is searched for, and the authors that it names.

        Names are looked up while the whole text is embedded: few questions name anyone, and only those are embedded
        a second time, without the name.
        """
        whole, names = await asyncio.gather(
            self._embedder.embed(encoder, workspace, text), reader.authors_among(workspace, possible_names(text))
        )
        nameless = without_names(text, names)
        searched = whole if nameless == text else await self._embedder.embed(encoder, workspace, nameless)
        return whole, searched, names

    def _ranked(self, question: Question, found: Found, names: Sequence[str], limit: int) -> list[Candidate]:
        named = set(names)
        # A list of all that hold the one word asked for: who has it comes before who is merely like it.
        word = 0 < len(found.sparse) < limit and is_one_word(question.searched)
        return fuse(
            found.dense,
            found.sparse,
            limit=limit,
            by_named_author={point for point, authors in found.authors.items() if named & authors},
            dense_weight=self._settings.word_dense_weight if word else self._settings.dense_weight,
            author_bonus=self._settings.author_bonus,
        )

    async def _passages(
        self,
        reader: IndexReader,
        request: ChatRequest,
        ranked: Sequence[Candidate],
        found: Found,
        vector: FloatArray,
    ) -> list[Passage]:
        """Return the passages of the best candidates that are of the present state and do not repeat each other."""
        sentences = request.purpose != "search"
        likely = [candidate.point for candidate in ranked[: request.top_k]]
        payloads, chosen = await asyncio.gather(
            reader.payloads(request.workspace, likely, sentences=sentences),
            _chosen(reader, request, [found.spans[candidate.point] for candidate in ranked]),
        )
        missing = [point for point in chosen if point not in payloads]
        payloads.update(await reader.payloads(request.workspace, missing, sentences=sentences))
        by_point = {candidate.point: candidate for candidate in ranked}
        return _numbered([by_point[point] for point in chosen], payloads, vector)


async def _chosen(reader: IndexReader, request: ChatRequest, ranked: Sequence[Span]) -> list[str]:
    """Return the points of the passages, asking for no more heads than are likely to be needed."""
    if request.group_by:
        heads = await reader.heads(request.workspace, list({span.document for span in ranked}))
        return choose_grouped(ranked, heads, request.top_k, request.group_size)
    looked_at = SPARE * request.top_k
    while True:
        spans = ranked[:looked_at]
        heads = await reader.heads(request.workspace, list({span.document for span in spans}))
        chosen = choose(spans, heads, request.top_k)
        if len(chosen) == request.top_k or looked_at >= len(ranked):
            return chosen
        looked_at *= 2


def _numbered(
    chosen: Sequence[Candidate], payloads: Mapping[str, Mapping[str, object]], vector: FloatArray
) -> list[Passage]:
    """Number what is still there: a point may have been replaced between the search and the reading."""
    present = [candidate for candidate in chosen if candidate.point in payloads]
    return [
        passage_of(number, candidate, payloads[candidate.point], vector)
        for number, candidate in enumerate(present, start=1)
    ]
