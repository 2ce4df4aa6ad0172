"""Writes that fail in part, vectors that are wrong, replays and opposing transactions."""

import asyncio
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.dead_letters import Reason
from schemas.documents import DocumentVersion
from tests.embeddings import serving
from tests.events import document
from tests.eventually import eventually
from tests.faults.arena import Arena, corpus
from tests.faults.invariants import C, L, O, R, Sinks, once
from tests.faults.running import Running, hosting
from tests.faults.test_sinks import holds, indexed, settled
from topics.catalogue import DEAD_LETTERS, DOCUMENTS, RECEIPTS


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
@pytest.mark.slow
async def test_a_wrong_vector_is_never_indexed(arena: Arena, workspace: str) -> None:
    """A model that goes wrong for some texts: each ends as a dead letter, and its neighbours are found."""
    faults = {"notanumber": [None] * 64, "tooshort": [0.5, 0.5], "nowhere": [0.0] * 64, "infinite": [1e39] * 64}
    versions = [document(f"Text {name}.", workspace=workspace, external_id=name) for name in (*faults, "good", "fine")]
    index = f"faulty{uuid4().hex[:6]}"
    await begin_here(arena, f"millrace.embedder.{index}")
    letters = await arena.sinks.ends(DEAD_LETTERS)
    async with serving() as served:
        served.faulty = lambda text, right: next((wrong for word, wrong in faults.items() if word in text), right)
        told = {"MILLRACE_ENCODER": f"openai:{served.url}#faulty", "MILLRACE_INDEX_ID": index}
        async with hosting(arena.environment | told, arena.folder, "embedder"):
            await arena.put(*versions)
            await eventually(lambda: buried(arena, letters, set(faults)), within=30, every=0.3)
            faulty = on_index(arena, index)
            await eventually(lambda: indexed(faulty, versions[len(faults) :]), within=20)
    points = await faulty.vectors(workspace)
    assert {point["text"] for point in points if point["part"] == "chunk"} == {"Text good.", "Text fine."}
    assert len(points) == 4
    # Nothing blocks the partition, and what is committed is done or buried.
    await C(arena.sinks, f"millrace.embedder.{index}", DOCUMENTS, await known(arena, workspace, index))


async def begin_here(arena: Arena, group: str) -> None:
    """Let a new consumer group read what comes from now on: what lies there is other tests'."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=arena.cluster.direct, group_id=group, enable_auto_commit=False, session_timeout_ms=6_000
    )
    await consumer.start()
    try:
        ends = await arena.sinks.ends(DOCUMENTS)
        consumer.assign([TopicPartition(DOCUMENTS.name, number) for number in ends])
        await consumer.commit({TopicPartition(DOCUMENTS.name, number): end for number, end in ends.items()})
    finally:
        await consumer.stop()


async def buried(arena: Arena, since: dict[int, int], names: set[str]) -> bool:
    found = [each for each in await arena.sinks.letters(DOCUMENTS, since) if each.worker == "embedder"]
    assert {each.reason for each in found} <= {Reason.INVALID_VECTOR}
    once(each.event_id for each in found)
    return {DocumentVersion.model_validate_json(each.value or b"").external_id for each in found} == names


async def known(arena: Arena, workspace: str, index: str) -> set[str]:
    """Return the ids of all events but those of `workspace` that had no receipt of the index and no letter."""
    ids = {dict(record.headers)["ce_id"].decode() for record in await arena.sinks.records(DOCUMENTS)}
    mine = {str(body.event_id) for body in await arena.sinks.bodies(DOCUMENTS, workspace)}
    told = await arena.sinks.bodies(RECEIPTS, workspace) + await arena.sinks.bodies(DEAD_LETTERS, workspace)
    ended = {str(each.event_id) for each in told if getattr(each, "sink", f"embedder/{index}") == f"embedder/{index}"}
    return ids - mine | ended


def on_index(arena: Arena, index: str) -> Sinks:
    held = arena.sinks
    return Sinks(held.qdrant, held.graph, held.pool, held.objects, held.bootstrap, f"millrace_{index}")


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
        shadow = on_index(arena, index)
        await eventually(lambda: both(shadow, workspace, calm), within=40)
        assert await shadow.index_digest(workspace) == before
    assert await arena.sinks.index_digest(workspace) == before
    await O(arena.sinks, workspace, calm)


async def both(shadow: Sinks, *workspaces: str) -> bool:
    for workspace in workspaces:
        await L(shadow, corpus(workspace, 8), graph=False)
    return True


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
