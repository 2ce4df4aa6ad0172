"""Writes that fail in part, vectors that are wrong, replays, backlogs and opposing transactions."""

import asyncio
from uuid import uuid4

import pytest
from qdrant_client import models

from infra.errors import Permanent, Transient
from infra.kafka.codec import encode, new_envelope
from infra.models.hashed import HashEncoder
from infra.qdrant.collections import ensure_collection
from infra.qdrant.points import DENSE, Key
from schemas.dead_letters import Reason
from tests.events import document
from tests.eventually import eventually
from tests.faults.arena import Arena, corpus
from tests.faults.invariants import B, L, O, R, Sinks
from tests.faults.proxy import Way
from tests.faults.running import Running, hosting
from tests.faults.test_sinks import holds, settled
from topics.catalogue import DOCUMENTS
from workers.embedder.store import IndexWriter


@pytest.mark.fault(36)
@pytest.mark.slow
async def test_sinks_that_fail_in_turn_converge(arena: Arena, mill: Running, workspace: str, calm: str) -> None:
    await arena.proxies["door"].refuse()
    await arena.put(*corpus(workspace, 6))
    await arena.proxies["neo4j"].refuse()
    await arena.put(*corpus(workspace, 6, version=2))
    await arena.proxies["door"].heal()
    await arena.proxies["postgres"].refuse()
    newest = corpus(workspace, 6, version=3)
    await arena.put(*newest)
    for proxy in arena.proxies.values():
        await proxy.heal()
    async with R(40) as recovery:
        await recovery.until(lambda: holds(arena.sinks, newest))
        for sink in ("embedder/main", "graph_builder"):
            await recovery.until(lambda sink=sink: arena.receipts(newest, sink))  # type: ignore[misc]
    for version in newest:
        await eventually(lambda version=version: recorded(arena, version))  # type: ignore[misc]
    await settled(arena, calm, 6, version=3)
    await O(arena.sinks, workspace, calm)


async def recorded(arena: Arena, version: object) -> bool:
    return await arena.sinks.recorded_version(version) == version.version  # type: ignore[arg-type, attr-defined]


@pytest.mark.fault(43)
@pytest.mark.parametrize("wrong", [[float("nan")], [0.5, 0.5], []], ids=["nan", "dimension", "empty"])
async def test_a_wrong_vector_is_never_indexed(arena: Arena, workspace: str, wrong: list[float]) -> None:
    collection = f"faulty-{uuid4().hex[:8]}"
    size = HashEncoder().dimension
    await ensure_collection(arena.sinks.qdrant, collection, size)
    version = document("A text.", workspace=workspace)
    vector = wrong * size if len(wrong) == 1 else wrong
    payload = {Key.WORKSPACE.value: workspace, Key.DOCUMENT.value: str(version.document_id), Key.VERSION.value: 1}
    point = models.PointStruct(id=str(uuid4()), vector={DENSE: vector}, payload=payload)
    with pytest.raises((Permanent, Transient, ValueError)) as refused:
        await IndexWriter(arena.sinks.qdrant, collection).write_chunks([point], [version])
    if isinstance(refused.value, Permanent):
        assert refused.value.reason in {Reason.INVALID_VECTOR, Reason.REFUSED_BY_SINK}
    assert (await arena.sinks.qdrant.count(collection, exact=True)).count == 0
    await arena.sinks.qdrant.delete_collection(collection)


@pytest.mark.fault(45)
@pytest.mark.slow
async def test_a_replay_beside_live_traffic_leaves_the_live_index_alone(
    arena: Arena, mill: Running, workspace: str, calm: str
) -> None:
    await settled(arena, workspace, 8)
    before = await arena.sinks.index_digest(workspace)
    index = f"shadow{uuid4().hex[:6]}"
    told = arena.environment | {"MILLRACE_INDEX_ID": index}
    async with hosting(told, arena.folder, "embedder"):
        await settled(arena, calm, 8)
        held = arena.sinks
        shadow = Sinks(held.qdrant, held.graph, held.pool, held.objects, held.bootstrap, f"millrace_{index}")
        await eventually(lambda: both(shadow, workspace, calm), within=40)
        assert await shadow.index_digest(workspace) == before
    assert await arena.sinks.index_digest(workspace) == before
    await O(arena.sinks, workspace, calm)


async def both(shadow: Sinks, *workspaces: str) -> bool:
    for workspace in workspaces:
        await L(shadow, corpus(workspace, 8), graph=False)
    return True


@pytest.mark.fault(40)
@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_backlog_stays_on_the_log_and_drains(arena: Arena, mill: Running, workspace: str) -> None:
    idle = mill.resident_bytes
    arena.proxies["door"].delay_s = {Way.TO_CLIENT: 0.2}
    arena.proxies["neo4j"].delay_s = {Way.TO_CLIENT: 0.2}
    versions = corpus(workspace, 3_000)
    for start in range(0, len(versions), 500):
        part = [
            await encode(DOCUMENTS, each, new_envelope(each, id=each.event_id, source=each.source), arena.sinks.objects)
            for each in versions[start : start + 500]
        ]
        await arena.publisher.send(part)
        await B(mill, in_flight=20_000, resident_bytes=idle + 150_000_000)
    await B(mill, in_flight=20_000, resident_bytes=idle + 150_000_000)
    await arena.heal()
    last = versions[-1:]
    await eventually(lambda: drained(mill), within=240, every=1)
    await eventually(lambda: holds(arena.sinks, last), within=30)
    await B(mill, in_flight=0, resident_bytes=idle + 150_000_000)


async def drained(mill: Running) -> bool:
    return await mill.metric("in_flight") == 0 and await mill.metric("lag") == 0


@pytest.mark.fault(31)
async def test_opposing_transactions_both_take_place_once(arena: Arena, workspace: str) -> None:
    names = [f"{workspace}/a", f"{workspace}/b"]
    graph = arena.sinks.graph
    met = asyncio.Barrier(2)

    async def crossing(order: list[str]) -> None:
        first = True

        async def work(transaction: object) -> None:
            nonlocal first
            for name in order:
                statement = "MERGE (n:Crossing {id: $id}) SET n.visits = coalesce(n.visits, 0) + 1"
                await (await transaction.run(statement, {"id": name})).consume()  # type: ignore[attr-defined]
                if first:
                    # Each holds its first lock before either asks for its second: a deadlock for certain.
                    first = False
                    await met.wait()

        await graph.write(work)

    for name in names:
        await graph.write(lambda transaction, name=name: _create(transaction, name))  # type: ignore[misc]
    await asyncio.gather(crossing(names), crossing(names[::-1]))
    rows = await graph.read("MATCH (n:Crossing) WHERE n.id IN $ids RETURN n.visits AS visits", {"ids": names})
    assert [row["visits"] for row in rows] == [2, 2]


async def _create(transaction: object, name: str) -> None:
    await (await transaction.run("CREATE (:Crossing {id: $id, visits: 0})", {"id": name})).consume()  # type: ignore[attr-defined]
