"""Finding points: the same hits and scores as the in-memory engine of the client, Qdrant's reference in Python."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from infra.qdrant.collections import INDEXES
from tests.live.qdrant.corpus import KINDS, POINTS, QUERY, VECTORS, fill, payload


@pytest_asyncio.fixture(scope="module")
async def corpus(client: AsyncQdrantClient) -> AsyncIterator[str]:
    name = "t-search"
    await fill(client, name)
    for field, schema in INDEXES.items():
        await client.create_payload_index(name, field, schema)
    yield name
    await client.delete_collection(name)


@pytest_asyncio.fixture(scope="module")
async def reference() -> AsyncIterator[AsyncQdrantClient]:
    local = AsyncQdrantClient(":memory:")
    await fill(local, "t-search")
    yield local
    await local.close()


def _matches(key: str, match: Any) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key=key, match=match)])


def _between(key: str, **bounds: Any) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key=key, range=models.Range(**bounds))])


RED = models.FieldCondition(key="workspace", match=models.MatchValue(value="red"))
FILTERS = {
    "value": _matches("workspace", models.MatchValue(value="red")),
    "true": _matches("draft", models.MatchValue(value=True)),
    "false": _matches("draft", models.MatchValue(value=False)),
    "integer value": _matches("version", models.MatchValue(value=12)),
    "any": _matches("kind", models.MatchAny(any=["issue", "page"])),
    "any of integers": _matches("version", models.MatchAny(any=[3, 5, 99])),
    "except": _matches("kind", models.MatchExcept(**{"except": ["issue"]})),
    "inside a list": _matches("authors", models.MatchValue(value="ann2")),
    "text": _matches("text", models.MatchText(text="number 1")),
    "range of integers": _between("version", gte=10, lt=20),
    "range of floats": _between("updated_at", gt=1_700_000_000.5 + 30),
    "dates": models.Filter(
        must=[models.FieldCondition(key="created", range=models.DatetimeRange(lte="2024-01-05T10:00:00Z"))]
    ),
    "empty": models.Filter(must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="authors"))]),
    "null": models.Filter(must=[models.IsNullCondition(is_null=models.PayloadField(key="updated_at"))]),
    "ids": models.Filter(must=[models.HasIdCondition(has_id=[3, 4, 5])]),
    "has vector": models.Filter(must=[models.HasVectorCondition(has_vector="sparse")]),
    "nested path": _matches("metadata.stage", models.MatchValue(value="live")),
    "list path": _matches("links[].n", models.MatchValue(value=9)),
    "nested": models.Filter(
        must=[
            models.NestedCondition(
                nested=models.Nested(
                    key="links",
                    filter=models.Filter(
                        must=[
                            models.FieldCondition(key="rel", match=models.MatchValue(value="next")),
                            models.FieldCondition(key="n", range=models.Range(gt=50)),
                        ]
                    ),
                )
            )
        ]
    ),
    "count of values": models.Filter(
        must=[models.FieldCondition(key="authors", values_count=models.ValuesCount(gt=1))]
    ),
    "should": models.Filter(should=[RED, models.HasIdCondition(has_id=[2])]),
    "must not": models.Filter(must_not=[RED]),
    "at least": models.Filter(
        min_should=models.MinShould(
            conditions=[RED, models.FieldCondition(key="draft", match=models.MatchValue(value=True))], min_count=2
        )
    ),
    "filter in a filter": models.Filter(must=[models.Filter(should=[RED]), models.HasIdCondition(has_id=[1, 2, 3])]),
    "empty filter": models.Filter(),
}


@pytest.mark.parametrize("name", FILTERS)
async def test_a_filter_selects_what_the_reference_selects(
    client: AsyncQdrantClient, corpus: str, reference: AsyncQdrantClient, name: str
) -> None:
    ours, _ = await client.scroll(corpus, scroll_filter=FILTERS[name], limit=100, with_payload=False)
    theirs, _ = await reference.scroll(corpus, scroll_filter=FILTERS[name], limit=100, with_payload=False)
    assert {point.id for point in ours} == {point.id for point in theirs}
    assert ours
    assert (await client.count(corpus, count_filter=FILTERS[name])).count == len(ours)


WORDS = models.SparseVector(indices=[3, 12, 33], values=[1, 1, 2])
DENSE_LEG = models.Prefetch(query=QUERY, using="dense", limit=20)
SPARSE_LEG = models.Prefetch(query=WORDS, using="sparse", limit=20)
RED_LEG = models.Prefetch(query=QUERY, using="dense", limit=20, filter=models.Filter(must=[RED]))
QUERIES: dict[str, dict[str, Any]] = {
    "dense": {"query": QUERY, "using": "dense"},
    "dense, filtered": {"query": QUERY, "using": "dense", "query_filter": models.Filter(must=[RED])},
    "sparse with idf": {"query": WORDS, "using": "sparse"},
    "sparse, filtered": {"query": WORDS, "using": "sparse", "query_filter": models.Filter(must=[RED])},
    "threshold": {"query": QUERY, "using": "dense", "score_threshold": 0.3},
    "idf of one workspace": {
        "query": WORDS,
        "using": "sparse",
        "query_filter": models.Filter(must=[RED]),
        "search_params": models.SearchParams(idf=models.IdfCorpusParams(corpus=models.Filter(must=[RED]))),
    },
    "offset": {"query": QUERY, "using": "dense", "offset": 5, "limit": 4},
    "by id": {"query": 7, "using": "dense"},
    "rank fusion": {"prefetch": [DENSE_LEG, SPARSE_LEG], "query": models.FusionQuery(fusion=models.Fusion.RRF)},
    "rank fusion, k 60": {"prefetch": [DENSE_LEG, SPARSE_LEG], "query": models.RrfQuery(rrf=models.Rrf(k=60))},
    "score fusion": {"prefetch": [DENSE_LEG, SPARSE_LEG], "query": models.FusionQuery(fusion=models.Fusion.DBSF)},
    "rescoring": {"prefetch": SPARSE_LEG, "query": QUERY, "using": "dense"},
    "nested prefetch": {
        "prefetch": models.Prefetch(prefetch=[RED_LEG], query=WORDS, using="sparse", limit=10),
        "query": QUERY,
        "using": "dense",
    },
    "diverse": {
        "query": models.NearestQuery(nearest=QUERY, mmr=models.Mmr(diversity=0.7, candidates_limit=15)),
        "using": "dense",
        "limit": 5,
    },
    "no query": {"limit": 5},
}


@pytest.mark.parametrize("name", QUERIES)
async def test_a_query_finds_what_the_reference_finds(
    client: AsyncQdrantClient, corpus: str, reference: AsyncQdrantClient, name: str
) -> None:
    ours = (await client.query_points(corpus, **QUERIES[name])).points
    theirs = (await reference.query_points(corpus, **QUERIES[name])).points
    assert [round(hit.score, 4) for hit in ours] == pytest.approx([hit.score for hit in theirs], abs=2e-4)
    distinct = {round(hit.score, 4) for hit in theirs}
    if len(distinct) == len(theirs):
        assert [hit.id for hit in ours] == [hit.id for hit in theirs]


async def test_tuning_of_an_approximate_index_changes_nothing(client: AsyncQdrantClient, corpus: str) -> None:
    search: Any = {"query": QUERY, "using": "dense"}
    tuned = models.SearchParams(exact=False, hnsw_ef=16, indexed_only=False)
    plain = (await client.query_points(corpus, **search)).points
    assert (await client.query_points(corpus, **search, search_params=tuned)).points == plain


async def test_weighted_rank_fusion_prefers_the_heavier_leg(client: AsyncQdrantClient, corpus: str) -> None:
    sparse_first = (await client.query_points(corpus, query=WORDS, using="sparse", limit=1)).points[0].id
    heavy = models.RrfQuery(rrf=models.Rrf(weights=[0.01, 1.0]))
    fused = (await client.query_points(corpus, prefetch=[DENSE_LEG, SPARSE_LEG], query=heavy)).points
    assert fused[0].id == sparse_first


async def test_searches_find_no_point_without_the_vector(client: AsyncQdrantClient, corpus: str) -> None:
    for query, using in ((QUERY, "dense"), (WORDS, "sparse")):
        hits = (await client.query_points(corpus, query=query, using=using, limit=1000)).points
        assert hits
        assert all(int(hit.id) < 1000 for hit in hits)


async def test_a_workspace_filter_lets_nothing_through(client: AsyncQdrantClient, corpus: str) -> None:
    both = [DENSE_LEG, SPARSE_LEG]
    blue = models.Filter(must=[models.FieldCondition(key="workspace", match=models.MatchValue(value="blue"))])
    found = await client.query_points(
        corpus,
        prefetch=[leg.model_copy(update={"filter": blue, "limit": 100}) for leg in both],
        query=models.FusionQuery(fusion=models.Fusion.RRF),
        limit=100,
    )
    assert {hit.payload["workspace"] for hit in found.points if hit.payload} == {"blue"}


@pytest.mark.parametrize(
    ("selector", "keys"),
    [
        (True, set(payload(1))),
        (False, None),
        (["text", "version"], {"text", "version"}),
        (models.PayloadSelectorInclude(include=["kind"]), {"kind"}),
        (models.PayloadSelectorExclude(exclude=["text", "links"]), set(payload(1)) - {"text", "links"}),
    ],
    ids=["all", "none", "list", "include", "exclude"],
)
async def test_payload_selectors(client: AsyncQdrantClient, corpus: str, selector: Any, keys: set[str] | None) -> None:
    query: Any = VECTORS[1].tolist()
    (hit,) = (await client.query_points(corpus, query=query, using="dense", limit=1, with_payload=selector)).points
    (found,) = await client.retrieve(corpus, [1], with_payload=selector)
    for point in (hit, found):
        assert point.id == 1
        assert (set(point.payload) if point.payload else None) == keys


async def test_vectors_are_shown_when_asked_for(client: AsyncQdrantClient, corpus: str) -> None:
    search: Any = {"query": QUERY, "using": "dense", "limit": 1}
    (plain,) = (await client.query_points(corpus, **search)).points
    (named,) = (await client.query_points(corpus, **search, with_vectors=["sparse"])).points
    (whole,) = (await client.query_points(corpus, **search, with_vectors=True)).points
    assert plain.vector is None
    assert isinstance(named.vector, dict)
    assert isinstance(whole.vector, dict)
    assert (set(named.vector), set(whole.vector)) == ({"sparse"}, {"dense", "sparse"})


async def test_a_query_batch_answers_in_order(client: AsyncQdrantClient, corpus: str) -> None:
    requests = [
        models.QueryRequest(query=VECTORS[n].tolist(), using="dense", limit=1, with_payload=["version"]) for n in (4, 9)
    ]
    answers = await client.query_batch_points(corpus, [*requests, models.QueryRequest(query=WORDS, using="sparse")])
    assert [answer.points[0].id for answer in answers[:2]] == [4, 9]
    assert [answer.points[0].payload for answer in answers[:2]] == [{"version": 4}, {"version": 9}]
    assert answers[2].points


async def test_scrolling_reads_every_point_once(client: AsyncQdrantClient, corpus: str) -> None:
    seen: list[Any] = []
    offset: Any = None
    while True:
        points, offset = await client.scroll(corpus, limit=17, offset=offset)
        seen.extend(point.id for point in points)
        if offset is None:
            break
    assert seen == [*range(POINTS), *range(1000, 1005)]


async def test_ordering_by_an_indexed_field(client: AsyncQdrantClient, corpus: str) -> None:
    newest = models.OrderBy(key="version", direction=models.Direction.DESC, start_from=20)
    points, _ = await client.scroll(corpus, order_by=newest, limit=3, scroll_filter=models.Filter(must=[RED]))
    assert [point.id for point in points] == [19, 17, 15]
    hits = (await client.query_points(corpus, query=models.OrderByQuery(order_by="version"), limit=2)).points
    assert {hit.id for hit in hits} == {0, 1000}


async def test_ordering_by_a_field_without_index_is_refused(client: AsyncQdrantClient, corpus: str) -> None:
    with pytest.raises(UnexpectedResponse) as refused:
        await client.scroll(corpus, order_by="text")
    assert refused.value.status_code == 400


async def test_a_facet_counts_values(client: AsyncQdrantClient, corpus: str) -> None:
    hits = (await client.facet(corpus, "kind", facet_filter=models.Filter(must=[RED]), exact=True)).hits
    expected = {kind: sum(1 for n in range(1, POINTS, 2) if KINDS[n % 3] == kind) for kind in KINDS}
    assert {hit.value: hit.count for hit in hits} == expected


async def test_a_random_sample_has_no_duplicates(client: AsyncQdrantClient, corpus: str) -> None:
    sample = models.SampleQuery(sample=models.Sample.RANDOM)
    hits = (await client.query_points(corpus, query=sample, limit=20)).points
    assert len({hit.id for hit in hits}) == 20


async def test_a_huge_limit_is_only_a_limit(client: AsyncQdrantClient, corpus: str) -> None:
    hits = (await client.query_points(corpus, query=QUERY, using="dense", limit=10_000_000)).points
    assert len(hits) == POINTS


@pytest.mark.parametrize(
    "wrong",
    [
        {"query": [1.0, 2.0], "using": "dense"},
        {"query": QUERY, "using": "unknown"},
        {"query": QUERY, "using": "sparse"},
        {"query": WORDS, "using": "dense"},
        {"query": QUERY},
        {"query": models.FusionQuery(fusion=models.Fusion.RRF)},
        {"query": 777_777, "using": "dense"},
        {"query": QUERY, "using": "dense", "limit": 0},
        {"query": QUERY, "using": "dense", "query_filter": _matches("a[", models.MatchValue(value=1))},
    ],
    ids=["dimension", "name", "dense as sparse", "sparse as dense", "unnamed", "bare fusion", "no id", "limit", "path"],
)
async def test_a_wrong_query_is_refused(client: AsyncQdrantClient, corpus: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedResponse) as refused:
        await client.query_points(corpus, **wrong)
    assert refused.value.status_code in (400, 404, 422)
