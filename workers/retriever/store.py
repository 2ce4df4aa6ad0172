"""Reads an index: candidates, term weights, passages, heads. Every read is bound to one workspace."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from qdrant_client import AsyncQdrantClient, models

from infra.errors import Transient
from infra.models.encoder import FloatArray
from infra.models.sparse import SparseTerms, term_id
from infra.qdrant.client import DEPENDENCY, translating
from infra.qdrant.points import DENSE, SPARSE, Head, Key, chunks_of, head_id, one_of, read_head
from workers.retriever.choose import Span

MOST_NAMES = 1_000
"""Authors of the points that a name was found in; a group of so many co-authors is not met in practice."""
_LOCATION = [key.value for key in (Key.DOCUMENT, Key.VERSION, Key.START, Key.END, Key.AUTHORS)]


@dataclass(frozen=True, slots=True)
class Found:
    """The two lists of a search (point id to score, not yet comparable), and where their points stand."""

    dense: dict[str, float]
    sparse: dict[str, float]
    spans: dict[str, Span]
    authors: dict[str, frozenset[str]]
    seen_weights: dict[str, float] = field(default_factory=dict)
    """Inverse document frequencies of those terms that a chunk holds."""

    @property
    def documents(self) -> set[UUID]:
        """The documents of all candidates."""
        return {span.document for span in self.spans.values()}

    def is_cut(self, limit: int) -> bool:
        """Say whether a list that may hold `limit` points is full, so that there may be more."""
        return len(self.dense) >= limit or len(self.sparse) >= limit

    def with_more(self, more: "Found") -> "Found":
        """Return these lists with those of a further search; the weights stay."""
        return Found(
            self.dense | more.dense,
            self.sparse | more.sparse,
            self.spans | more.spans,
            self.authors | more.authors,
            self.seen_weights,
        )


class IndexReader:
    """Reads one collection. Raises Transient or Permanent as `infra.qdrant.client` decides."""

    def __init__(self, client: AsyncQdrantClient, collection: str) -> None:
        self._client = client
        self._collection = collection

    async def authors_among(self, workspace: str, names: Sequence[str]) -> list[str]:
        """Return those of `names` (lower case) that are an author's name or handle in `workspace`."""
        if not names:
            return []
        with translating():
            answer = await self._client.facet(
                self._collection,
                key=Key.AUTHORS.value,
                facet_filter=chunks_of(workspace, one_of(Key.AUTHORS, names)),
                limit=MOST_NAMES,
            )
        known = {str(hit.value) for hit in answer.hits}
        return [name for name in names if name in known]

    async def search(
        self,
        workspace: str,
        within: models.Filter,
        *,
        dense: FloatArray,
        sparse: SparseTerms,
        terms: Sequence[str],
        limit: int,
    ) -> Found:
        """Return the best `limit` of each list inside the filter `within`, and the weights of those `terms` it holds.

        Everything travels in one batch. Inverse document frequencies are those of the workspace, not of the
        collection: another workspace's words must not show in the order of this one's answers.
        """
        corpus = chunks_of(workspace)
        requests = [_nearest(dense.tolist(), DENSE, within, limit)]
        if sparse.indices:
            vector = models.SparseVector(indices=list(sparse.indices), values=list(sparse.values))
            requests.append(_nearest(vector, SPARSE, within, limit, corpus))
            requests.extend(_weighing(term, corpus) for term in terms)
        with translating():
            # Not the client's own method of that name: it looks for texts to embed, of which there are none, in deep
            # copies of every request, a tenth of this thread's time for a question.
            response = await self._client.http.search_api.query_batch_points(
                self._collection, query_request_batch=models.QueryRequestBatch(searches=requests)
            )
        if response.result is None:
            raise Transient(DEPENDENCY, "an answer without a result")
        answers = response.result
        lists = [answer.points for answer in answers[:2]]
        dense_points, sparse_points = lists[0], lists[1] if len(lists) > 1 else []
        by_id = {str(point.id): point.payload or {} for point in (*dense_points, *sparse_points)}
        return Found(
            dense={str(point.id): point.score for point in dense_points},
            sparse={str(point.id): point.score for point in sparse_points},
            spans={point: _span(point, payload) for point, payload in by_id.items()},
            authors={point: frozenset(payload.get(Key.AUTHORS) or ()) for point, payload in by_id.items()},
            seen_weights=seen_weights(terms, [answer.points for answer in answers[2:]]),
        )

    async def weights(self, workspace: str, terms: Sequence[str], seen: Mapping[str, float]) -> dict[str, float]:
        """Return the weight of every term: its IDF, for one that no chunk holds the highest there can be."""
        if len(seen) == len(terms):
            return dict(seen)
        # Counting costs as much as a list: only for the question that has such a term.
        with translating():
            chunks = (await self._client.count(self._collection, count_filter=chunks_of(workspace))).count
        return {term: seen.get(term, highest_weight(chunks)) for term in terms}

    async def payloads(self, workspace: str, points: Sequence[str], *, sentences: bool) -> dict[str, dict[str, Any]]:
        """Return the payloads of chunk points of `workspace`; a point that is gone meanwhile is left out."""
        heavy = [] if sentences else [Key.SENTENCES.value, Key.SENTENCE_VECTORS.value]
        selector = models.PayloadSelectorExclude(exclude=[*heavy, Key.METADATA.value])
        return await self._retrieve(workspace, points, selector)

    async def heads(self, workspace: str, documents: Sequence[UUID]) -> dict[UUID, Head]:
        """Return the heads of documents of `workspace`; a document that has none yet is left out."""
        wanted = {head_id(workspace, document): document for document in documents}
        found = await self._retrieve(workspace, list(wanted), True)
        return {wanted[point]: read_head(payload) for point, payload in found.items()}

    async def _retrieve(
        self, workspace: str, points: Sequence[str], selector: bool | models.PayloadSelectorExclude
    ) -> dict[str, dict[str, Any]]:
        if not points:
            return {}
        with translating():
            records = await self._client.retrieve(
                self._collection, ids=list(points), with_payload=selector, with_vectors=False
            )
        payloads = {str(record.id): record.payload or {} for record in records}
        # Ids are asked for without a filter; the ids came from filtered reads, and this holds even if one did not.
        return {point: payload for point, payload in payloads.items() if payload.get(Key.WORKSPACE) == workspace}


def _nearest(
    vector: list[float] | models.SparseVector,
    using: str,
    within: models.Filter,
    limit: int,
    corpus: models.Filter | None = None,
) -> models.QueryRequest:
    return models.QueryRequest(
        query=vector, using=using, filter=within, limit=limit, with_payload=_LOCATION, params=_idf_of(corpus)
    )


def _idf_of(corpus: models.Filter | None) -> models.SearchParams | None:
    return models.SearchParams(idf=models.IdfCorpusParams(corpus=corpus)) if corpus else None


def _weighing(term: str, corpus: models.Filter) -> models.QueryRequest:
    """Ask for the best point of one term: its score is its stored weight times the term's IDF."""
    return models.QueryRequest(
        query=models.SparseVector(indices=[term_id(term)], values=[1.0]),
        using=SPARSE,
        filter=corpus,
        limit=1,
        with_payload=False,
        with_vector=[SPARSE],
        params=_idf_of(corpus),
    )


def seen_weights(terms: Sequence[str], best: Sequence[Sequence[models.ScoredPoint]]) -> dict[str, float]:
    """Return the IDF of each term that a chunk holds, by the best point of each: its score over its stored weight."""
    weights = {}
    for term, points in zip(terms, best, strict=False):
        stored = _stored_weight(points[0], term) if points else 0.0
        if stored > 0:
            weights[term] = points[0].score / stored
    return weights


def highest_weight(chunks: int) -> float:
    """Return the highest IDF there can be, that of a term in a single one of `chunks`.

    Qdrant's IDF: ln(1 + (N - n + .5) / (n + .5)) for a term in n of N points (its documentation, "Sparse vectors").
    """
    return math.log(1 + max(0.5, chunks - 0.5) / 1.5)


def _stored_weight(point: models.ScoredPoint, term: str) -> float:
    vector = point.vector.get(SPARSE) if isinstance(point.vector, Mapping) else None
    if not isinstance(vector, models.SparseVector):
        return 0.0
    return dict(zip(vector.indices, vector.values, strict=True)).get(term_id(term), 0.0)


def _span(point: str, payload: Mapping[str, Any]) -> Span:
    return Span(
        point,
        UUID(payload[Key.DOCUMENT]),
        int(payload[Key.VERSION]),
        int(payload[Key.START]),
        int(payload[Key.END]),
    )
