"""What the local door keeps when it is killed: every acknowledged write, through repeated SIGKILLs under load."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from qdrant_client import AsyncQdrantClient, models

from infra.errors import Transient
from infra.qdrant.client import open_client, translating
from infra.qdrant.collections import aliased, ensure_collection, point_alias
from tests.eventually import eventually
from tests.live.qdrant.doors import Door

KILLS, WRITERS, BATCH = 4, 6, 8


@pytest_asyncio.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    door = Door(tmp_path / "root", MILLRACE_DOOR_IDLE_S="0.2")
    await door.start()
    yield door
    await door.kill(signal.SIGTERM)


def _points(ids: range, version: int) -> list[models.PointStruct]:
    return [
        models.PointStruct(
            id=n,
            vector={"dense": [float(n + 1), 1.0, 2.0, 3.0], "sparse": models.SparseVector(indices=[n], values=[1.0])},
            payload={"version": version, "workspace": "w"},
        )
        for n in ids
    ]


class Load:
    """Writers that remember what they asked for and what was acknowledged, in order, for each point.

    A state is a version, or None for deleted. Each id has one writer, so the order is exact.
    """

    def __init__(self) -> None:
        self.asked: dict[int, list[int | None]] = {}
        self.acknowledged: dict[int, int] = {}
        """Id -> index in `asked` of the last acknowledged state."""
        self.writes = 0

    async def write(self, client: AsyncQdrantClient, writer: int, version: int) -> None:
        """Upsert, overwrite and delete in an id range of its own until the door is gone."""
        block = 0
        try:
            while True:
                start = writer * 10_000 + (block % 40) * BATCH
                with translating():
                    await self._upsert(client, range(start, start + BATCH), version, wait=block % 3 > 0)
                    if block % 5 == 0:
                        await self._delete(client, start)
                block += 1
        except Transient:
            return

    async def _upsert(self, client: AsyncQdrantClient, ids: range, version: int, wait: bool) -> None:
        for n in ids:
            self.asked.setdefault(n, []).append(version)
        await client.upsert("kept", _points(ids, version), wait=wait)
        self.acknowledged.update({n: len(self.asked[n]) - 1 for n in ids})
        self.writes += 1

    async def _delete(self, client: AsyncQdrantClient, n: int) -> None:
        self.asked[n].append(None)
        await client.delete("kept", [n])
        self.acknowledged[n] = len(self.asked[n]) - 1

    async def reaches(self, writes: int) -> None:
        await eventually(lambda: self.writes >= writes, every=0.005)

    def lost(self, stored: dict[int, int]) -> list[int]:
        """Ids whose stored state is older than the acknowledged one."""
        return [n for n, index in self.acknowledged.items() if stored.get(n) not in self.asked[n][index:]]


async def _stored(client: AsyncQdrantClient) -> dict[int, int]:
    found: dict[int, int] = {}
    offset = None
    while True:
        points, offset = await client.scroll("kept", limit=1000, offset=offset)
        found.update({int(point.id): (point.payload or {})["version"] for point in points})
        if offset is None:
            return found


async def test_no_acknowledged_write_is_lost_to_repeated_kills(door: Door) -> None:
    load = Load()
    async with open_client(door.settings) as client:
        await ensure_collection(client, "kept", 4)
        for version in range(1, KILLS + 1):
            before = load.writes
            writers = asyncio.gather(*(load.write(client, n, version) for n in range(WRITERS)))
            await load.reaches(before + 40)
            await door.kill(signal.SIGKILL)
            await writers
            await door.start()
            stored = await _stored(client)
            assert load.lost(stored) == []
            assert set(stored) <= set(load.asked)
            # the search structures were rebuilt with the points, not only the payloads
            top = (await client.query_points("kept", query=[1.0, 1.0, 2.0, 3.0], using="dense", limit=10_000)).points
            assert {int(hit.id) for hit in top} == set(stored)


async def test_collections_aliases_and_indexes_survive_a_kill(door: Door) -> None:
    async with open_client(door.settings) as client:
        await ensure_collection(client, "one", 4)
        await ensure_collection(client, "two", 8)
        await point_alias(client, "live", "one")
        await client.delete_collection("two")
        await client.update_collection("one", metadata={"model": "m"})
        await door.kill(signal.SIGKILL)
        await door.start()
        assert [each.name for each in (await client.get_collections()).collections] == ["one"]
        assert await aliased(client, "live") == "one"
        info = await client.get_collection("live")
        assert info.payload_schema["version"].data_type == models.PayloadSchemaType.INTEGER
        assert info.config.metadata == {"model": "m"}
        # nothing of the deleted collection is left on disk
        assert len(list((door.root / "collections").iterdir())) == 1


async def test_a_half_made_collection_is_swept_at_the_next_start(door: Door) -> None:
    await door.kill(signal.SIGKILL)
    (door.root / "collections" / "orphan").mkdir()
    (door.root / "catalogue.json.new").write_bytes(b'{"format"')
    await door.start()
    assert not (door.root / "collections" / "orphan").exists()


async def test_a_stopped_door_has_everything_without_its_log(door: Door) -> None:
    async with open_client(door.settings) as client:
        await ensure_collection(client, "kept", 4)
        await client.upsert("kept", _points(range(50), 1), wait=False)
        await door.kill(signal.SIGTERM)
        await door.start()
        assert len(await _stored(client)) == 50


async def test_a_folder_has_one_door(door: Door) -> None:
    second = Door(door.root)
    second.log = door.root.with_suffix(".second.log")
    process = second.spawn()
    assert await asyncio.to_thread(process.wait, 10) == 1
    assert "belongs to another vector door" in second.log.read_text()


@pytest.mark.parametrize(
    ("setting", "value"), [("QDRANT_API_KEY", ""), ("MILLRACE_DOOR_PORT", "http"), ("MILLRACE_DOOR_MAX_BODY", "1")]
)
async def test_bad_settings_end_the_start_and_are_named(tmp_path: Path, setting: str, value: str) -> None:
    door = Door(tmp_path / "root", **{setting: value})
    process = door.spawn()
    assert await asyncio.to_thread(process.wait, 10) == 2
    assert setting in door.log.read_text()


async def test_storage_of_deleted_points_is_dropped_when_idle(door: Door) -> None:
    async with open_client(door.settings) as client:
        await ensure_collection(client, "kept", 4)
        await client.upsert("kept", _points(range(3000), 1))
        await client.delete("kept", list(range(2000)))
        await eventually(lambda: "deleted points dropped" in door.log.read_text(), within=20)
        assert set(await _stored(client)) == set(range(2000, 3000))
        await client.upsert("kept", _points(range(5), 2))
        assert (await client.count("kept")).count == 1005
