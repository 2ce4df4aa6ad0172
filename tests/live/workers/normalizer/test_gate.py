"""What passes into topic `documents`, against the real table: never an older state behind a newer one."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from infra.errors import Permanent
from infra.kafka.worker import Delivery, Outgoing
from schemas.documents import DocumentVersion
from schemas.event import MAX_VERSION
from schemas.ids import document_id
from schemas.raw import RawEvent
from schemas.receipts import Receipt
from tests.deliveries import delivery, said_by
from tests.events import document
from tests.unit.workers.normalizer.arrivals import raw
from topics.catalogue import DOCUMENTS
from workers.normalizer.decide import State
from workers.normalizer.gate import let_through
from workers.normalizer.read import Tools
from workers.normalizer.worker import normalise

Pool = asyncpg.Pool


@pytest.fixture
def name() -> str:
    """The external id of a document that no other test knows."""
    return uuid4().hex


def state(name: str, version: int, offset: int, **fields: Any) -> Delivery[RawEvent]:
    """Return a delivery that says a state of a document."""
    said = {"id": name, "version": version, "text": f"version {version}", **fields}
    return delivery(raw("generic", said, delivery=uuid4().hex), offset=offset)


async def handle(deliveries: Sequence[Delivery[RawEvent]], tools: Tools) -> list[Outgoing]:
    return await said_by(await normalise(deliveries, tools))


def published(outgoing: Sequence[Outgoing]) -> list[int]:
    """Return the versions that go to `documents`; 0 for a tombstone."""
    bodies = [each for each in outgoing if each.topic is DOCUMENTS]
    return [0 if each.tombstone else each.body.version for each in bodies if isinstance(each.body, DocumentVersion)]


def receipts(outgoing: Sequence[Outgoing]) -> list[Receipt]:
    return [each.body for each in outgoing if isinstance(each.body, Receipt)]


async def test_an_older_state_behind_a_newer_one_is_not_published(tools: Tools, name: str) -> None:
    newer = await handle([state(name, 3, 0)], tools)
    older = await handle([state(name, 2, 1)], tools)
    assert (published(newer), published(older)) == ([3], [])
    (first,), (second,) = receipts(newer), receipts(older)
    assert (second.outcome, second.documents, second.parts) == ("applied", (), 0)
    assert second.superseded == first.documents
    assert "newer state" in second.detail


async def test_a_delivery_that_comes_again_is_published_again(tools: Tools, name: str) -> None:
    batch = [state(name, 3, 0)]
    assert published(await handle(batch, tools)) == [3]
    assert published(await handle(batch, tools)) == [3], "a crash before the first publication would have lost it"


async def test_a_state_that_its_source_says_again_is_not_published_again(tools: Tools, name: str) -> None:
    (first,) = receipts(await handle([state(name, 3, 0)], tools))
    again = await handle([state(name, 3, 1)], tools)
    (second,) = receipts(again)
    assert (published(again), second.superseded, second.detail) == ([], first.documents, "1 documents are as they were")
    assert published(await handle([state(name, 4, 2, text="version 3")], tools)) == [4], "the sender's number is new"


async def test_another_text_under_the_same_number_has_a_version_of_its_own(tools: Tools, name: str) -> None:
    first, other = state(name, 3, 0), state(name, 3, 1, text="another text")
    assert published(await handle([first, other], tools)) == [3, 4]
    assert published(await handle([first], tools)) == [], "a replay ends at what was accepted last"
    assert published(await handle([other], tools)) == [4]
    assert published(await handle([state(name, 4, 2)], tools)) == [5], "never a version that another text has"
    assert published(await handle([state(name, 4, 3, deleted=True)], tools)) == [6, 0]
    assert published(await handle([state(name, 9, 4)], tools)) == [9], "and the sender's number where it is free"


async def test_no_version_is_left(tools: Tools, name: str) -> None:
    assert published(await handle([state(name, MAX_VERSION, 0)], tools)) == [MAX_VERSION]
    with pytest.raises(Permanent, match="greatest version"):
        await handle([state(name, MAX_VERSION, 1, text="other")], tools)
    assert published(await handle([state(name, MAX_VERSION, 2, deleted=True)], tools)) == [MAX_VERSION, 0]


async def test_a_row_of_an_earlier_release_knows_no_text(tools: Tools, name: str) -> None:
    """Of the two states with one number the one that comes is taken for the newer, once."""
    identity = document_id("acme", "src_1", name)
    await tools.pool.execute(
        "insert into published (document_id, number, version, gone) values ($1, 3, 3, false)", identity
    )
    assert published(await handle([state(name, 2, 8)], tools)) == []
    batch = [state(name, 3, 9)]
    assert published(await handle(batch, tools)) == [4]
    assert published(await handle(batch, tools)) == [4]


async def test_several_states_in_one_batch_pass_as_long_as_they_rise(tools: Tools, name: str) -> None:
    batch = [state(name, version, at) for at, version in enumerate([2, 5, 4, 5, 7, 1])]
    outgoing = await handle(batch, tools)
    assert published(outgoing) == [2, 5, 7]
    assert [bool(receipt.superseded) for receipt in receipts(outgoing)] == [False, False, True, True, False, True]
    assert published(await handle(batch, tools)) == [7], "delivered again, the newest is the only word left to say"


async def test_an_update_behind_the_deletion_does_not_bring_it_back(tools: Tools, name: str) -> None:
    assert published(await handle([state(name, 4, 0), state(name, 5, 1, deleted=True)], tools)) == [4, 5, 0]
    assert published(await handle([state(name, 4, 2)], tools)) == []
    assert published(await handle([state(name, 5, 3)], tools)) == [], "of one number the deletion is newer"
    assert published(await handle([state(name, 5, 4, deleted=True)], tools)) == [5, 0]
    assert published(await handle([state(name, 6, 5)], tools)) == [6]


async def test_one_bad_delivery_holds_nothing_back(tools: Tools, name: str) -> None:
    """Its batch fails before anything is noted, and its neighbours come again one by one."""
    bad = delivery(raw("generic", {"id": name, "version": "newest", "text": "x"}, delivery=uuid4().hex), offset=1)
    older, newer = state(name, 2, 0), state(name, 3, 2)
    for batch in ([older, bad, newer], [bad]):
        with pytest.raises(Permanent, match="version"):
            await handle(batch, tools)
    assert published(await handle([older], tools)) == [2]
    assert published(await handle([newer], tools)) == [3]


async def test_other_documents_are_not_in_the_way(tools: Tools, name: str) -> None:
    assert published(await handle([state(name, 9, 0), state(f"{name}-b", 1, 1)], tools)) == [9, 1]


async def test_batches_at_once_take_turns(pool: Pool) -> None:
    """Many at once over the same documents: whoever passes has seen nobody newer, and none wait in a circle."""
    order = random.Random(4)
    names = [uuid4().hex for _ in range(20)]
    highest = dict.fromkeys(names, 0)
    versions_of: dict[str, set[int]] = {name: set() for name in names}

    async def one(number: int) -> None:
        chosen = order.sample(names, 8)
        versions = [document(f"text {number}", version=order.randint(1, 500), external_id=name) for name in chosen]
        states = [((0, number), [State(version, str(number).encode())]) for version in versions]
        for (passed,) in await let_through(pool, states):
            if passed.shown:
                external_id = passed.state.version.external_id
                assert passed.version not in versions_of[external_id]
                versions_of[external_id].add(passed.version)
                highest[external_id] = max(highest[external_id], passed.version)

    await asyncio.gather(*(one(number) for number in range(200)))
    rows = await pool.fetch("select document_id, version from published")
    held: dict[UUID, int] = {row["document_id"]: row["version"] for row in rows}
    assert {name: held[document(external_id=name).document_id] for name in names} == highest


async def test_no_documents_no_statement(pool: Pool) -> None:
    assert await let_through(pool, []) == []
    assert await let_through(pool, [((0, 0), ()), ((0, 1), ())]) == [[], []]
