"""Retrieval on the real index engine with the real encoder."""

import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from qdrant_client import AsyncQdrantClient

from infra.models.encoder import Encoder
from infra.qdrant.collections import ensure_collection
from schemas.chat import ChatMessage
from schemas.documents import Author, Chunk, DocumentVersion
from schemas.filters import SearchFilters
from schemas.ids import document_id
from tests.chats import request
from tests.events import document
from tests.live.workers.retriever.library import Library, spans_of
from workers.normalizer.sources.files import flat
from workers.retriever.embed import QuestionEmbedder

KEYS = "Secrets live in the vault. Signing keys are rotated every ninety days. Ask the platform team for access."
MILL = "The old mill stands by the river. Its wheel was repaired in 1889 by the carpenter Anna Berg."
BREAD = "Sourdough needs flour, water and salt. Bake it for forty minutes in a hot oven."


def written(text: str, name: str, title: str = "", **fields: object) -> DocumentVersion:
    return document(text, external_id=name, title=title, language="en", **fields)


def identity(name: str, workspace: str = "acme") -> UUID:
    return document_id(workspace, "src_a", name)


@pytest.fixture
async def stocked(library: Library) -> Library:
    await library.add(
        written(KEYS, "keys", "Key handling", kind="file", metadata={"team": "platform", "tier": 1, "public": False}),
        written(MILL, "mill", "The mill", kind="issue", metadata={"team": "history", "a.b": "dotted"}),
        written(BREAD, "bread", "Baking", kind="entry", updated_at=datetime(2025, 6, 1, tzinfo=UTC)),
    )
    return library


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("How often are the signing keys replaced?", "keys"),
        ("Who mended the water wheel?", "mill"),
        ("How long does a loaf stay in the oven?", "bread"),
    ],
)
async def test_the_best_passage_is_about_the_question(stocked: Library, question: str, name: str) -> None:
    found = await stocked.ask(question)
    best = found.passages[0]
    assert best.document_id == identity(name)
    assert [passage.number for passage in found.passages] == [1, 2, 3]
    assert found.index_id == "test-index"
    assert 0 < best.cosine <= 1
    assert best.score <= 1.1


async def test_sentences_carry_their_cosines_and_literal_offsets(stocked: Library) -> None:
    best = (await stocked.passages("How often are the signing keys replaced?"))[0]
    assert [(one.start, one.end) for one in best.sentences] == spans_of(KEYS, 0)
    closest = max(best.sentences, key=lambda one: one.cosine)
    assert KEYS[closest.start : closest.end] == "Signing keys are rotated every ninety days."
    assert closest.cosine > best.sentences[0].cosine + 0.1


async def test_a_search_takes_no_sentences_along(stocked: Library) -> None:
    best = (await stocked.passages("signing keys", purpose="search"))[0]
    assert best.text == KEYS
    assert best.sentences == ()


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (SearchFilters(kinds=("issue",)), {"mill"}),
        (SearchFilters(kinds=("issue", "entry")), {"mill", "bread"}),
        (SearchFilters(sources=("src_b",)), set()),
        (SearchFilters(connectors=("generic",)), {"keys", "mill", "bread"}),
        (SearchFilters(languages=("de",)), set()),
        (SearchFilters(documents=(identity("bread"),)), {"bread"}),
        (SearchFilters(metadata={"team": "platform"}), {"keys"}),
        (SearchFilters(metadata={"tier": "1"}), {"keys"}),
        (SearchFilters(metadata={"public": "false"}), {"keys"}),
        (SearchFilters(metadata={"a.b": "dotted"}), {"mill"}),
        (SearchFilters(metadata={"team": "platform"}, kinds=("issue",)), set()),
        (SearchFilters(updated_from=datetime(2025, 1, 1, tzinfo=UTC)), {"bread"}),
        (SearchFilters(updated_to=datetime(2025, 1, 1, tzinfo=UTC)), set()),
    ],
)
async def test_filters_hold(stocked: Library, filters: SearchFilters, names: set[str]) -> None:
    passages = await stocked.passages("How often are the signing keys replaced?", filters=filters)
    assert {passage.document_id for passage in passages} == {identity(name) for name in names}


ROWS: dict[str, dict[str, object]] = {
    "a": {
        "year": 2031, "level": 1.5, "draft": False, "team": "weir", "tags": ["x", "y"], "ver": "2.0",
        "dotted.name": "d1", "due": "2031-03-01", "sizes": [1, 2], "big": 2**53 + 1,
        "at": "2031-03-01T10:00:00+02:00", "no": "1",
    },
    "b": {
        "year": 2030, "level": 2.5, "draft": True, "team": "mill", "tags": ["y", "z"], "ver": "2",
        "dotted.name": "d2", "due": "2031-04-01", "sizes": [2, 3], "big": 2**53 + 2,
        "at": "2031-03-01T23:30:00Z", "no": 1,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
async def rows(client: AsyncQdrantClient, encoder: Encoder) -> AsyncIterator[Library]:
    collection = f"rows-{uuid4().hex[:12]}"
    await ensure_collection(client, collection, encoder.dimension)
    opened = Library(client, collection, encoder, QuestionEmbedder())
    await opened.add(*(written(f"The report {name}.", name, metadata=flat(row)) for name, row in ROWS.items()))
    yield opened
    await client.delete_collection(collection)


@pytest.mark.parametrize(
    ("metadata", "names"),
    [
        ({"year": 2031}, "a"),
        ({"year": "2031"}, "a"),
        ({"year": 2031.0}, "a"),
        ({"level": 1.5}, "a"),
        ({"level": "1.5"}, "a"),
        ({"draft": True}, "b"),
        ({"draft": "true"}, "b"),
        ({"draft": 1}, ""),
        ({"tags": "z"}, "b"),
        ({"tags": ["x", "z"]}, "ab"),
        ({"team": ["weir", "mill"]}, "ab"),
        ({"team": ["weir", 7]}, "a"),
        ({"team": "Weir"}, ""),
        ({"dotted.name": "d2"}, "b"),
        ({"ver": "2"}, "b"),
        ({"ver": "2.0"}, "a"),
        ({"ver": 2}, ""),
        ({"no": 1}, "b"),
        ({"no": "1"}, "ab"),
        ({"sizes": 3}, "b"),
        ({"sizes": [1, 3]}, "ab"),
        ({"big": 2**53 + 1}, "a"),
        ({"nope": "1"}, ""),
        ({"team": "weir", "year": "2030"}, ""),
        ({"year": {"gte": 2031}}, "a"),
        ({"year": {"gt": 2030, "lt": 2032}}, "a"),
        ({"level": {"lte": 2}}, "a"),
        ({"sizes": {"gt": 2}}, "b"),
        ({"ver": {"gte": 0}}, ""),
        ({"due": {"gte": "2031-03-01", "lt": "2031-04-01"}}, "a"),
        ({"due": {"gt": "2031-03-01"}}, "b"),
        ({"at": {"lte": "2031-03-01"}}, "ab"),
        ({"at": {"lt": "2031-03-01T09:00:00"}}, "a"),
        ({"at": {"gte": "2031-03-02T00:00:00+01:00"}}, "b"),
        ({"team": {"gte": "2031-01-01"}}, ""),
    ],
)  # fmt: skip
async def test_metadata_keeps_its_types(rows: Library, metadata: dict[str, object], names: str) -> None:
    filters = SearchFilters.model_validate({"metadata": metadata})
    passages = await rows.passages("the report", filters=filters)
    assert {passage.document_id for passage in passages} == {identity(name) for name in names}


async def test_top_k_may_count_documents(library: Library) -> None:
    lines = [f"Paragraph {n} tells of the parvolite gate." for n in range(130)]
    text = " ".join(lines)
    chunks, at = [], 0
    for n, line in enumerate(lines):
        chunks.append(Chunk(ordinal=n, start=at, end=at + len(line)))
        at += len(line) + 1
    names = ("mill", "bread", "weir")
    small = [written(f"Note {name} has a word on the parvolite gate and on {name}s.", name) for name in names]
    await library.add(written(text, "keys", chunks=tuple(chunks)), *small)
    alone = await library.passages("parvolite gate", purpose="search", top_k=4)
    assert len({one.document_id for one in alone}) < 4
    grouped = await library.passages("parvolite gate", purpose="search", top_k=4, group_by="document", group_size=2)
    by_document = [one.document_id for one in grouped]
    assert list(dict.fromkeys(by_document)) == sorted(set(by_document), key=by_document.index)
    assert set(by_document) == {identity(name) for name in ("keys", *names)}
    assert by_document.count(identity("keys")) == 2
    assert [one.number for one in grouped] == [1, 2, 3, 4, 5]
    firsts = [next(one.score for one in grouped if one.document_id == each) for each in dict.fromkeys(by_document)]
    assert firsts == sorted(firsts, reverse=True)


async def test_no_other_workspace_is_read(stocked: Library) -> None:
    secret = "Signing keys of the other tenant are rotated every single day. Keys, keys, signing keys."
    await stocked.add(written(secret, "keys", workspace="globex", authors=(Author(name="Caroline"),)))
    question = "How often are the signing keys replaced?"
    ours, theirs = await stocked.passages(question), await stocked.passages(question, workspace="globex")
    assert {passage.document_id for passage in theirs} == {identity("keys", "globex")}
    assert identity("keys", "globex") not in {passage.document_id for passage in ours}
    named = await stocked.passages(question, filters=SearchFilters(documents=(identity("keys", "globex"),)))
    assert named == ()
    assert await stocked.passages(question, workspace="nobody") == ()


async def test_another_workspaces_words_do_not_move_the_scores(stocked: Library) -> None:
    question = "How often are the signing keys replaced?"
    before = await stocked.ask(question)
    copies = [written(KEYS, f"keys-{n}", workspace="globex") for n in range(20)]
    await stocked.add(*copies)
    after = await stocked.ask(question)
    assert [(one.ordinal, one.score) for one in after.passages] == [(one.ordinal, one.score) for one in before.passages]
    assert after.term_weights == before.term_weights


async def test_a_deleted_document_is_not_found_even_while_its_chunks_are_there(stocked: Library) -> None:
    await stocked.add(written("", "keys", version=2))
    passages = await stocked.passages("How often are the signing keys replaced?")
    assert {passage.document_id for passage in passages} == {identity("mill"), identity("bread")}


async def test_chunks_of_a_replaced_version_are_not_found(stocked: Library) -> None:
    newer = written("Signing keys are now rotated hourly.", "keys", version=2)
    # the new version has fewer chunks, and the old ones are not yet swept
    older = written(
        "a" * 50 + " signing keys. " + KEYS,
        "keys",
        chunks=(Chunk(ordinal=0, start=0, end=30), Chunk(ordinal=1, start=65, end=165)),
    )
    await stocked.add(older, newer)
    passages = await stocked.passages("How often are signing keys rotated?")
    assert [passage.version for passage in passages if passage.document_id == identity("keys")] == [2]


async def test_many_replaced_chunks_leave_no_gap(library: Library) -> None:
    stale = [written(f"Signing keys are rotated, note {n}.", f"stale-{n}") for n in range(30)]
    await library.add(*stale, written(MILL, "mill"), written(BREAD, "bread"))
    await library.add(*[written("", f"stale-{n}", version=2) for n in range(30)])
    passages = await library.passages("How often are signing keys rotated?", top_k=2)
    assert {passage.document_id for passage in passages} == {identity("mill"), identity("bread")}
    assert [passage.number for passage in passages] == [1, 2]


async def test_a_named_author_lifts_her_texts_and_leaves_the_embedded_question(library: Library) -> None:
    said = "We plan to go camping in the mountains in June."
    await library.add(
        written(said, "a", authors=(Author(name="Melanie", handle="mel"),)),
        written(said, "b", authors=(Author(name="Caroline"),)),
    )
    for name, first in (("Melanie", "a"), ("Caroline", "b"), ("@mel", "a")):
        passages = await library.passages(f"When does {name} go camping?")
        assert passages[0].document_id == identity(first)
        assert passages[0].score > passages[1].score
    nameless = await library.passages("When does one go camping?")
    assert nameless[0].score == pytest.approx(nameless[1].score)
    named = await library.passages("When does Caroline go camping?")
    assert named[1].cosine == pytest.approx(named[0].cosine)
    only = await library.passages("camping", filters=SearchFilters(authors=(" Melanie ",)))
    assert [passage.document_id for passage in only] == [identity("a")]


async def test_term_weights_are_the_workspaces_inverse_document_frequencies(stocked: Library) -> None:
    weights = (await stocked.ask("Is the mill's wheel or a zeppelin baked?")).term_weights
    # three chunks; a term in one of them, and one in none, which gets the weight of one
    once = math.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    assert set(weights) == {"mill", "wheel", "zeppelin", "bake"}
    for weight in weights.values():
        assert weight == pytest.approx(once, rel=1e-4)
    await stocked.add(written("A wheel turns.", "wheel"))
    weights = (await stocked.ask("Which wheel?")).term_weights
    assert weights["wheel"] == pytest.approx(math.log(1 + (4 - 2 + 0.5) / (2 + 0.5)), rel=1e-4)


async def test_a_question_of_stop_words_alone_still_searches(stocked: Library) -> None:
    found = await stocked.ask("What is it about?")
    assert len(found.passages) == 3
    assert found.term_weights == {}


async def test_a_follow_up_finds_what_the_first_question_was_about(stocked: Library) -> None:
    turns = (
        ChatMessage(role="user", content="How often are the signing keys rotated?"),
        ChatMessage(role="assistant", content="Every ninety days [1]."),
        ChatMessage(role="user", content="And who gives access?"),
    )
    found = await stocked.about(request(messages=turns))
    assert found.question.asked == "And who gives access?"
    assert found.passages[0].document_id == identity("keys")


async def test_an_empty_index_finds_nothing(library: Library) -> None:
    found = await library.ask("Is anything here?")
    assert found.passages == ()
    assert found.term_weights == {"anyth": pytest.approx(math.log(1 + 0.5 / 1.5))}
