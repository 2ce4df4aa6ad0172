"""Whatever the order, the duplicates, the races and the crashes: an index ends in the newest version."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations

import pytest
from qdrant_client import AsyncQdrantClient, models

from infra.errors import Transient
from infra.models.encoder import FloatArray, Use
from infra.models.hashed import HashEncoder
from infra.qdrant.points import Head, Key, Part, belongs_to, chunks_of
from schemas.documents import Chunk, DocumentVersion
from schemas.receipts import Receipt
from tests.deliveries import delivery
from tests.events import document
from workers.embedder.asked import Asked
from workers.embedder.decide import DocumentKey, Heads
from workers.embedder.encode import WINDOW
from workers.embedder.store import IndexWriter
from workers.embedder.turns import Turns, slices
from workers.embedder.worker import Tools, embed

Held = list[tuple[int, int, str]]


def version(number: int, chunks: int, *, workspace: str = "acme", external_id: str = "1") -> DocumentVersion:
    """Version `number` in so many chunks of one sentence each; no chunks: a deletion."""
    if not chunks:
        return document("", version=number, workspace=workspace, external_id=external_id)
    sentences = [f"Version {number} says this in part {at:04}. " for at in range(chunks)]
    text = "".join(sentences)
    size = len(sentences[0])
    cut = tuple(Chunk(ordinal=at, start=at * size, end=(at + 1) * size) for at in range(chunks))
    return document(text, version=number, workspace=workspace, external_id=external_id, chunks=cut)


async def handle(tools: Tools, *versions: DocumentVersion) -> list[Receipt]:
    return [outgoing.body for outgoing in await embed([delivery(v) for v in versions], tools)]  # type: ignore[misc]


async def held(client: AsyncQdrantClient, collection: str, workspace: str = "acme") -> Held:
    """Return ordinal, version and text of every chunk point, in order."""
    records, _ = await client.scroll(collection, scroll_filter=chunks_of(workspace), limit=1_000)
    payloads = [record.payload or {} for record in records]
    return sorted((p[Key.ORDINAL], p[Key.VERSION], p[Key.TEXT]) for p in payloads)


def expected(last: DocumentVersion) -> Held:
    return [(chunk.ordinal, last.version, last.text_of(chunk)) for chunk in last.chunks]


async def heads(client: AsyncQdrantClient, collection: str) -> list[tuple[int, bool]]:
    only_heads = models.FieldCondition(key=Key.PART.value, match=models.MatchValue(value=Part.HEAD.value))
    records, _ = await client.scroll(collection, scroll_filter=belongs_to("acme", only_heads), limit=100)
    return [(payload[Key.VERSION], payload[Key.DELETED]) for record in records if (payload := record.payload)]


HISTORIES = {
    "ends as text": [version(1, 3), version(2, 1), version(3, 2), version(2, 1)],
    "ends deleted": [version(1, 3), version(2, 1), version(3, 0), version(1, 3)],
    "lives again": [version(1, 2), version(2, 0), version(3, 1), version(2, 0)],
    "deleted at the same version": [version(1, 1), version(2, 3), version(2, 0), version(2, 3)],
}


def last_of(history: Sequence[DocumentVersion]) -> DocumentVersion:
    return max(history, key=lambda v: (v.version, v.operation == "delete"))


def of(workspace: str, state: DocumentVersion) -> DocumentVersion:
    """Return the same state of the document of that name in another workspace."""
    return state.model_copy(update={"workspace": workspace})


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES.keys())
async def test_every_order_of_deliveries_ends_the_same(
    tools: Tools, client: AsyncQdrantClient, collection: str, history: list[DocumentVersion]
) -> None:
    # Each order has a workspace of its own, so that one batch takes a step of all of them.
    orders = {f"order-{number}": order for number, order in enumerate(permutations(history))}
    for step in range(len(history)):
        await handle(tools, *(of(workspace, order[step]) for workspace, order in orders.items()))
    for workspace, order in orders.items():
        found = await held(client, collection, workspace)
        assert found == expected(last_of(history)), [(v.version, v.operation) for v in order]


async def test_one_batch_in_any_order_ends_the_same(tools: Tools, client: AsyncQdrantClient, collection: str) -> None:
    history = HISTORIES["deleted at the same version"]
    for number, order in enumerate(permutations(history[:3])):
        workspace = f"order-{number}"
        await handle(tools, *(of(workspace, state) for state in order))
        assert await held(client, collection, workspace) == expected(last_of(history))


async def test_receipts_say_what_became_of_each(tools: Tools) -> None:
    first, second, gone = version(1, 3), version(2, 2), version(3, 0)
    (receipt,) = await handle(tools, second)
    assert (receipt.outcome, receipt.parts, receipt.sink) == ("applied", 2, "embedder/main")
    assert (receipt.event_id, receipt.document_id) == (second.event_id, second.document_id)
    again, late = await handle(tools, second, first)
    assert (again.outcome, late.outcome) == ("applied", "stale")
    older, newer = await handle(tools, second, gone)
    assert (older.outcome, newer.outcome, newer.parts, newer.operation) == ("stale", "applied", 0, "delete")


async def test_a_deletion_leaves_a_tombstone_and_nothing_else(
    tools: Tools, client: AsyncQdrantClient, collection: str
) -> None:
    await handle(tools, version(1, 3))
    await handle(tools, version(2, 0))
    assert await held(client, collection) == []
    assert await heads(client, collection) == [(2, True)]


async def test_another_documents_and_workspaces_points_are_left_alone(
    tools: Tools, client: AsyncQdrantClient, collection: str
) -> None:
    other, foreign = version(1, 2, external_id="2"), version(1, 2, workspace="globex")
    await handle(tools, version(1, 3), other, foreign)
    await handle(tools, version(5, 0))
    assert await held(client, collection) == expected(other)
    assert await held(client, collection, "globex") == expected(foreign)


async def test_a_long_document_is_written_in_windows(tools: Tools, client: AsyncQdrantClient, collection: str) -> None:
    # 300 chunks: over one window of 256 and several requests.
    await handle(tools, version(1, 300), version(1, 2, external_id="2"))
    assert len(await held(client, collection)) == 302
    await handle(tools, version(2, 1))
    assert len(await held(client, collection)) == 3


async def test_two_embedders_that_race_end_in_the_newest(
    tools: Tools, client: AsyncQdrantClient, collection: str
) -> None:
    for number in range(5):
        workspace = f"race-{number}"
        states = [of(workspace, state) for state in HISTORIES["ends as text"]]
        await asyncio.gather(*(handle(tools, state) for state in states))
        assert await held(client, collection, workspace) == expected(last_of(HISTORIES["ends as text"]))


class Overtaken(IndexWriter):
    """Lets something happen just before this writer's chunks, or its head, reach the index."""

    def __init__(self, inner: IndexWriter, before: str) -> None:
        super().__init__(inner._client, inner._collection)
        self._before = before
        self.meanwhile: list[DocumentVersion] = []
        self.other: Tools | None = None

    async def _let(self, step: str) -> None:
        if step == self._before and self.other is not None:
            other, self.other = self.other, None
            await handle(other, *self.meanwhile)

    async def write_chunks(
        self,
        points: Sequence[models.PointStruct],
        versions: Sequence[DocumentVersion],
        wanted: Callable[[DocumentVersion], bool] = lambda _: True,
    ) -> None:
        await self._let("chunks")
        await super().write_chunks(points, versions, wanted)

    async def write_heads(self, versions: Sequence[DocumentVersion]) -> None:
        await self._let("heads")
        await super().write_heads(versions)

    async def sweep(self, heads: Heads) -> None:
        await self._let("sweep")
        await super().sweep(heads)


@pytest.mark.parametrize("step", ["chunks", "heads", "sweep"])
@pytest.mark.parametrize("newer", [version(2, 1), version(2, 0)], ids=["update", "delete"])
async def test_a_newer_version_may_overtake_at_every_step(
    tools: Tools, client: AsyncQdrantClient, collection: str, step: str, newer: DocumentVersion
) -> None:
    for asked in (tools.asked, Asked()):  # in this process, where the writer hears of it, and in another one
        slow = Overtaken(tools.index, step)
        slow.meanwhile, slow.other = [newer], tools
        await handle(replace(tools, index=slow, asked=asked), version(1, 3))
        assert await held(client, collection) == expected(newer)
        await client.delete(collection, models.FilterSelector(filter=belongs_to("acme")))


class Watched(HashEncoder):
    """Remembers the texts that it encodes; dies at one, or stands still, when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.dies_at = "nowhere"
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def _vectors(self, texts: Sequence[str], use: Use) -> FloatArray:
        self.reached.set()
        await self.go_on.wait()
        if self.dies_at in texts:
            raise Transient("encoder", "killed here")
        self.texts += texts
        return await super()._vectors(texts, use)


def watched(tools: Tools) -> tuple[Tools, Watched]:
    encoder = Watched()
    return replace(tools, turns=Turns(encoder, 1)), encoder


async def killed_in_the_third_window(tools: Tools, encoder: Watched, long: DocumentVersion) -> None:
    encoder.dies_at = long.text_of(long.chunks[2 * WINDOW + 5])
    with pytest.raises(Transient):
        await handle(tools, long)
    encoder.dies_at = "nowhere"
    encoder.texts.clear()


async def test_a_long_document_goes_on_where_it_stopped(
    tools: Tools, client: AsyncQdrantClient, collection: str
) -> None:
    tools, encoder = watched(tools)
    long = version(1, 3 * WINDOW)
    await killed_in_the_third_window(tools, encoder, long)
    assert len(await held(client, collection)) == 2 * WINDOW
    (receipt,) = await handle(tools, long)
    assert (receipt.outcome, receipt.parts) == ("applied", 3 * WINDOW)
    again = [chunk.ordinal for chunk in long.chunks if long.text_of(chunk) in encoder.texts]
    assert again == list(range(2 * WINDOW, 3 * WINDOW)), "what stood in the index was encoded again"
    assert await held(client, collection) == expected(long)


async def test_chunks_of_the_same_number_and_another_text_are_not_taken_for_its_own(tools: Tools) -> None:
    tools, encoder = watched(tools)
    long = version(1, 3 * WINDOW)
    await killed_in_the_third_window(tools, encoder, long)
    other = long.model_copy(update={"text": long.text.replace("Version", "Wording")})
    await handle(tools, other)
    assert other.text_of(other.chunks[0]) in encoder.texts


@pytest.mark.parametrize("chunks", [3, 2 * WINDOW], ids=["short", "long"])
async def test_a_deletion_does_not_wait_for_the_write_that_it_overtakes(
    tools: Tools, client: AsyncQdrantClient, collection: str, chunks: int
) -> None:
    tools, encoder = watched(tools)
    encoder.go_on.clear()
    writing = asyncio.create_task(handle(tools, version(1, chunks)))
    await encoder.reached.wait()
    (gone,) = await handle(tools, version(2, 0))
    assert gone.outcome == "applied"
    encoder.go_on.set()
    (late,) = await writing
    assert late.outcome == "stale"
    assert await held(client, collection) == []
    assert await heads(client, collection) == [(2, True)]
    slice_ = next(slices(encoder.texts)) if encoder.texts else []
    assert len(encoder.texts) == len(slice_), "what nobody wants any more was encoded"


class Crashing(IndexWriter):
    """Dies before its request number `at` (reads and writes count)."""

    def __init__(self, inner: IndexWriter, at: int) -> None:
        super().__init__(inner._client, inner._collection)
        self._left = at

    def _step(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Transient("qdrant", "killed here")

    async def heads(self, versions: Sequence[DocumentVersion]) -> dict[DocumentKey, Head]:
        self._step()
        return await super().heads(versions)

    async def _upsert(
        self, points: Sequence[models.PointStruct], guards: Sequence[models.Filter], workspace: str
    ) -> None:
        self._step()
        await super()._upsert(points, guards, workspace)

    async def sweep(self, heads: Heads) -> None:
        self._step()
        await super().sweep(heads)


@pytest.mark.parametrize("update", [version(2, 40), version(2, 1), version(2, 0)], ids=["grows", "shrinks", "deleted"])
async def test_a_crash_at_any_step_is_mended_by_redelivery(
    tools: Tools, client: AsyncQdrantClient, collection: str, update: DocumentVersion
) -> None:
    crashes = 0
    for at in range(8):
        workspace = f"crash-{at}"
        await handle(tools, of(workspace, version(1, 3)))
        change = of(workspace, update)
        try:
            await handle(replace(tools, index=Crashing(tools.index, at)), change)
        except Transient:
            crashes += 1
        (receipt,) = await handle(tools, change)
        assert receipt.outcome == "applied"
        assert await held(client, collection, workspace) == expected(update)
    assert 4 <= crashes < 8, "the crashes must cover every step, and the last round none"


@pytest.mark.parametrize("later", [version(2, 1), version(1, 3), version(3, 0)], ids=["held", "stale", "newer"])
async def test_a_zombies_late_points_are_removed_by_any_later_delivery(
    tools: Tools, client: AsyncQdrantClient, collection: str, later: DocumentVersion
) -> None:
    await handle(tools, version(2, 1))
    with pytest.raises(Transient):
        # Reads no head (as if it had read it long ago), adds three points of version 1, and dies.
        await handle(replace(tools, index=Zombie(tools.index)), version(1, 3))
    assert len(await held(client, collection)) == 3
    await handle(tools, later)
    assert await held(client, collection) == expected(later if later.version > 2 else version(2, 1))


class Zombie(IndexWriter):
    """Believes that its document is new, writes its chunks and dies."""

    def __init__(self, inner: IndexWriter) -> None:
        super().__init__(inner._client, inner._collection)

    async def heads(self, versions: Sequence[DocumentVersion]) -> dict[DocumentKey, Head]:
        return {}

    async def write_heads(self, versions: Sequence[DocumentVersion]) -> None:
        raise Transient("qdrant", "killed here")
