"""Three brokers: a leader that is killed, too few replicas, a full disk."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest

from infra.kafka.codec import new_envelope
from infra.kafka.producer import Publisher
from tests.eventually import eventually
from tests.faults.arena import Arena, note
from tests.faults.cluster import Cluster, clustered
from tests.faults.invariants import R, Sinks
from tests.faults.running import Running, ending, gateway, hosting
from tests.flow.tenant import Sender, Tenant
from topics.catalogue import DOCUMENTS, RAW_EVENTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
async def kept_trio(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with clustered(tmp_path_factory.mktemp("trio"), size=3) as cluster:
        yield cluster


@pytest.fixture
async def trio(kept_trio: Cluster) -> AsyncIterator[Cluster]:
    """Three brokers, all there."""
    await kept_trio.mend()
    yield kept_trio
    await kept_trio.mend()


def on(arena: Arena, cluster: Cluster) -> Sinks:
    held = arena.sinks
    return Sinks(held.qdrant, held.graph, held.pool, held.objects, cluster.direct, held.collection)


async def sender(arena: Arena, door: Running, workspace: str) -> Sender:
    headers = {"authorization": f"Bearer {await arena.key(workspace)}"}
    client = httpx.AsyncClient(base_url=door.url, headers=headers, timeout=30)
    return await Tenant(workspace, client).source("generic")


@pytest.mark.fault(2)
async def test_leaders_that_are_killed_lose_and_double_nothing(arena: Arena, trio: Cluster, workspace: str) -> None:
    told = arena.environment | {"KAFKA_BOOTSTRAP_SERVERS": trio.bootstrap}
    publisher = await Publisher.open(trio.bootstrap.split(","), arena.sinks.objects, patience_s=60)
    async with hosting(told, arena.folder, "normalizer"):
        events = [note(workspace, f"n{number}", f"Note {number}.") for number in range(90)]
        for number, event in enumerate(events):
            if number % 30 == 10:
                # Each broker leads a third of the partitions.
                await trio.brokers[number // 30].kill()
            if number % 30 == 29:
                trio.brokers[number // 30].start()
                await trio.brokers[number // 30].ready()
            await publisher.publish(RAW_EVENTS, event, new_envelope(event, id=event.event_id, source="s"))
        async with R(60) as recovery:
            await recovery.until(lambda: all_normalised(on(arena, trio), workspace, 90), every=1)
    await publisher.close()
    accepted = [record for record in await on(arena, trio).records(RAW_EVENTS) if _of(record, workspace)]
    assert len(accepted) == 90


def _of(record: object, workspace: str) -> bool:
    return dict(record.headers).get("workspace") == workspace.encode()  # type: ignore[attr-defined]


async def all_normalised(sinks: Sinks, workspace: str, count: int) -> bool:
    bodies = await sinks.bodies(DOCUMENTS, workspace)
    found = {body.document_id for body in bodies}
    # The same version may stand there twice after a kill: its id is the same, and every sink's gate knows it.
    assert len({(body.document_id, body.version) for body in bodies}) == len(found)
    return len(found) == count


@pytest.mark.fault(3)
async def test_below_the_least_replicas_nothing_is_accepted_and_nothing_accepted_is_lost(
    arena: Arena, trio: Cluster, workspace: str
) -> None:
    told = arena.environment | {"KAFKA_BOOTSTRAP_SERVERS": trio.bootstrap, "MILLRACE_PUBLISH_TIMEOUT_S": "3"}
    door = gateway(told, arena.folder)
    async with ending(door):
        await door.ready()
        source = await sender(arena, door, workspace)
        async with aclosing(source.tenant.client):
            assert (await source.generic({"id": "first", "text": "a"}, "first")).status_code == 202
            # Two of three controllers gone: the one that is left cannot elect, and takes no acks=all.
            await trio.brokers[1].kill()
            await trio.brokers[2].kill()
            for number in range(3):
                answer = await source.generic({"id": f"x{number}", "text": "a"}, f"x{number}")
                assert answer.status_code == 503, answer.text
            await trio.mend()
            assert await source.accepted({"id": "last", "text": "a"}, "last")
    deliveries = {body.delivery for body in await on(arena, trio).bodies(RAW_EVENTS, workspace)}
    assert {"first", "last"} <= deliveries


mounting = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    options = ("mount", "-t", "tmpfs", "-o", "size=24m", "millrace-faults", str(place))
    subprocess.run(options, capture_output=True, check=True)
    yield place
    subprocess.run(("umount", "-l", str(place)), check=True)


@mounting
@pytest.mark.fault(9)
async def test_a_full_broker_disk_is_no_2xx_and_loses_nothing(
    arena: Arena, small_disk: Path, tmp_path: Path, workspace: str
) -> None:
    small = "log.segment.bytes=1048576\nlog.index.size.max.bytes=65536\nlog.preallocate=false"
    async with clustered(tmp_path / "kafka", data=[small_disk / "log"], more=small) as cluster:
        told = arena.environment | {"KAFKA_BOOTSTRAP_SERVERS": cluster.bootstrap, "MILLRACE_PUBLISH_TIMEOUT_S": "3"}
        door = gateway(told, arena.folder)
        filler = small_disk / "filler"
        async with ending(door):
            await door.ready()
            source = await sender(arena, door, workspace)
            async with aclosing(source.tenant.client):
                await source.accepted({"id": "first", "text": "a"}, "first")
                await asyncio.to_thread(_fill, filler)
                accepted = await _until_refused(source)
                filler.unlink()
                await cluster.mend()
                await source.accepted({"id": "last", "text": "a"}, "last")
        deliveries = {body.delivery for body in await on(arena, cluster).bodies(RAW_EVENTS, workspace)}
        assert {"first", "last", *accepted} <= deliveries


def _fill(filler: Path) -> None:
    with filler.open("wb") as file:
        try:
            while True:
                file.write(b"\0" * 65_536)
                file.flush()
        except OSError:
            return


async def _until_refused(source: Sender) -> set[str]:
    accepted: set[str] = set()

    async def refused() -> bool:
        name = f"f{len(accepted)}"
        answer = await source.generic({"id": name, "text": "x" * 20_000}, name)
        if answer.status_code == 202:
            accepted.add(name)
        return answer.status_code == 503

    await eventually(refused, within=60)
    return accepted


@mounting
@pytest.mark.fault(35)
async def test_a_full_object_store_is_no_2xx(arena: Arena, small_disk: Path, workspace: str) -> None:
    store = small_disk / "objects"
    store.mkdir()
    door = gateway(arena.environment | {"OBJECT_STORE_URL": store.as_uri()}, arena.folder)
    async with ending(door):
        await door.ready()
        headers = {"authorization": f"Bearer {await arena.key(workspace)}"}
        large = {"text": "a large text. " * 200_000, "external_id": "large"}
        async with httpx.AsyncClient(base_url=door.url, headers=headers, timeout=30) as client:
            await client.post("/v1/documents", json={"text": "small", "external_id": "small"})
            filler = small_disk / "filler"
            await asyncio.to_thread(_fill, filler)
            answer = await client.post("/v1/documents", json=large)
            assert answer.status_code >= 500, answer.text
            filler.unlink()

            async def accepted() -> bool:
                return (await client.post("/v1/documents", json=large)).status_code == 202

            await eventually(accepted, within=20)
    deliveries = await arena.sinks.records(RAW_EVENTS)
    assert sum(_of(record, workspace) for record in deliveries) == 2
