"""How writes become durable together, on a real shard."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from infra.qdrant.door import collection as module
from infra.qdrant.door.changes import read_delete, read_set_payload, read_upsert
from infra.qdrant.door.collection import Collection
from infra.qdrant.door.faults import Fault, NotFound
from infra.qdrant.door.schema import read_schema
from tests.eventually import eventually

SCHEMA = read_schema({"vectors": {"dense": {"size": 2, "distance": "Cosine"}}})


class Counting(Collection):
    """A collection that counts its flushes, and fails them on demand."""

    flushes = 0
    broken = False

    def flush(self) -> None:
        self.flushes += 1
        if self.broken:
            raise Fault("no space left on device")
        super().flush()


@pytest_asyncio.fixture
async def collection(tmp_path: Path) -> AsyncIterator[Counting]:
    made = Counting.create(tmp_path / "shard", SCHEMA)
    yield made
    made.broken = False
    made.close()


def upsert(collection: Collection, identity: int, size: int = 100) -> int:
    body = {"points": [{"id": identity, "vector": {"dense": [1, 2]}}]}
    return collection.apply([read_upsert(SCHEMA, body)], size)


async def test_writes_that_wait_together_share_a_flush(collection: Counting) -> None:
    async def write(identity: int) -> None:
        upsert(collection, identity)
        await collection.durable()

    await asyncio.gather(*(write(n) for n in range(50)))
    assert (collection.flushes, collection.points()) == (1, 50)
    await write(50)
    assert collection.flushes == 2


async def test_a_write_that_nobody_waits_for_is_flushed_soon(
    collection: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAZY_FLUSH_S", 0.02)
    for n in range(5):
        upsert(collection, n)
    assert collection.flushes == 0
    await eventually(lambda: collection.flushes == 1, every=0.005)


async def test_the_log_is_shortened_before_it_grows_long(collection: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNFLUSHED", 1000)
    for n in range(21):
        upsert(collection, n, size=100)
    assert collection.flushes == 1


async def test_all_who_wait_hear_of_a_flush_that_fails(collection: Counting) -> None:
    collection.broken = True
    upsert(collection, 1)
    answers = await asyncio.gather(*(collection.durable() for _ in range(3)), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["no space left on device"] * 3
    collection.broken = False
    await collection.durable()


async def test_a_failed_lazy_flush_is_tried_again(collection: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAZY_FLUSH_S", 0.01)
    collection.broken = True
    upsert(collection, 1)
    await eventually(lambda: collection.flushes >= 2, every=0.005)
    collection.broken = False
    tried = collection.flushes
    await eventually(lambda: collection.flushes > tried, every=0.005)


async def test_one_who_stops_waiting_does_not_stop_the_others(collection: Counting) -> None:
    upsert(collection, 1)
    waiting = [asyncio.create_task(collection.durable()) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await waiting[1]
    assert collection.flushes == 1


async def test_closing_answers_those_who_wait(tmp_path: Path) -> None:
    closed = Counting.create(tmp_path / "closed", SCHEMA)
    upsert(closed, 1)
    waiting = asyncio.create_task(closed.durable())
    await asyncio.sleep(0)
    closed.close()
    await waiting
    assert closed.flushes >= 1


async def test_closing_with_a_full_disk_still_closes(tmp_path: Path) -> None:
    closed = Counting.create(tmp_path / "closed", SCHEMA)
    closed.broken = True
    upsert(closed, 1)
    closed.close()
    # the log kept the write
    again = Counting.load(tmp_path / "closed", SCHEMA)
    assert again.points() == 1
    again.close()


async def test_a_change_of_missing_points_changes_none(collection: Counting) -> None:
    upsert(collection, 1)
    with pytest.raises(NotFound, match="No point with id 9"):
        collection.apply([read_set_payload(SCHEMA, {"payload": {"a": 1}, "points": [1, 9]})])
    assert collection.shard.retrieve([1], True, False)[0].payload == {}


async def test_optimizing_drops_what_was_deleted(collection: Counting) -> None:
    body = {"points": [{"id": n, "vector": {"dense": [1, 2]}} for n in range(2000)]}
    collection.apply([read_upsert(SCHEMA, body)])
    assert not collection.optimize()
    collection.apply([read_delete(SCHEMA, {"points": list(range(1500))})])
    assert collection.optimize()
    assert collection.points() == 500
    assert not collection.written_since_optimize
