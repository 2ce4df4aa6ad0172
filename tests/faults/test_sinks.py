"""Sinks that go away, hang or come back: the partition waits, nothing is lost, every effect is there once."""

import pytest

from tests.eventually import eventually, lapse
from tests.faults.arena import Arena, corpus
from tests.faults.invariants import L, O, R, Sinks
from tests.faults.proxy import BOTH, Way
from tests.faults.running import Running
from topics.catalogue import DOCUMENTS

EMBEDDER, GRAPH = "millrace.embedder.main", "millrace.graph_builder"


async def settled(arena: Arena, workspace: str, count: int = 10, version: int = 1) -> None:
    """Fill `workspace` in peace and wait for both sinks."""
    versions = corpus(workspace, count, version=version)
    await arena.put(*versions)
    await eventually(lambda: holds(arena.sinks, versions), within=30, every=0.2)


async def holds(sinks: Sinks, versions: list) -> bool:
    await L(sinks, versions)
    return True


@pytest.mark.fault(30)
async def test_a_qdrant_that_is_down_pauses_the_embedder_alone(
    arena: Arena, mill: Running, workspace: str, calm: str
) -> None:
    letters = await arena.sinks.ends(DOCUMENTS)
    before = await mill.metric("dead_letters_total")
    await arena.proxies["door"].refuse()
    versions = corpus(workspace, 10)
    await arena.put(*versions)
    # The graph goes on meanwhile.
    await eventually(lambda: graphed(arena.sinks, versions), within=20)
    assert await arena.sinks.indexed_version(versions[0]) is None
    await eventually(lambda: retried(mill, "qdrant"), within=20)
    assert (await mill.health())[0] == 200
    await arena.proxies["door"].heal()
    async with R(within=25) as recovery:
        await recovery.until(lambda: holds(arena.sinks, versions))
    await settled(arena, calm)
    await O(arena.sinks, workspace, calm)
    assert await mill.metric("dead_letters_total") == before
    assert letters


async def graphed(sinks: Sinks, versions: list) -> bool:
    await L(sinks, versions, index=False)
    return True


async def indexed(sinks: Sinks, versions: list) -> bool:
    await L(sinks, versions, graph=False)
    return True


async def retried(mill: Running, dependency: str) -> bool:
    return await mill.metric("retries_total", dependency=dependency) > 0


@pytest.mark.fault(30)
@pytest.mark.slow
async def test_a_qdrant_that_is_killed_or_hangs_loses_nothing(
    arena: Arena, mill: Running, workspace: str, calm: str
) -> None:
    versions = corpus(workspace, 10)
    await arena.put(*versions[:5])
    arena.signal("door")
    arena.proxies["door"].delay_s = {Way.TO_CLIENT: 0.3}
    await arena.put(*versions[5:])
    await lapse(1)
    arena.proxies["door"].swallow = BOTH
    await arena.put(*corpus(workspace, 3, version=2))
    await lapse(4)
    await arena.proxies["door"].heal()
    async with R(within=40) as recovery:
        await recovery.until(lambda: holds(arena.sinks, [*versions, *corpus(workspace, 3, version=2)]))
    await settled(arena, calm)
    await settled(arena, calm, 3, version=2)
    await O(arena.sinks, workspace, calm)


@pytest.mark.fault(31)
async def test_a_neo4j_that_is_down_pauses_the_graph_alone(
    arena: Arena, mill: Running, workspace: str, calm: str
) -> None:
    before = await mill.metric("dead_letters_total")
    await arena.proxies["neo4j"].refuse()
    versions = corpus(workspace, 10)
    await arena.put(*versions)
    await eventually(lambda: indexed(arena.sinks, versions), within=20)
    await eventually(lambda: retried(mill, "neo4j"), within=30)
    assert await arena.sinks.graphed_version(versions[0]) is None
    await arena.proxies["neo4j"].heal()
    async with R(within=40) as recovery:
        await recovery.until(lambda: holds(arena.sinks, versions))
    await settled(arena, calm)
    await O(arena.sinks, workspace, calm)
    assert await mill.metric("dead_letters_total") == before


@pytest.mark.fault(32)
async def test_a_postgres_that_is_killed_and_restarts_loses_nothing(
    arena: Arena, mill: Running, workspace: str
) -> None:
    from tests.faults.arena import note

    await arena.accept(*(note(workspace, f"n{number}", f"Note {number} of the mill.") for number in range(10)))
    pid = await arena.sinks.pool.fetchval("select pid from pg_stat_activity where datname is not null limit 1")
    assert pid
    arena.signal("postgres")
    events = [note(workspace, f"m{number}", f"Later note {number} of the mill.") for number in range(10)]
    await arena.accept(*events)

    async def complete() -> bool:
        found = await arena.sinks.pool.fetchval(
            "select count(distinct external_id) from documents where workspace = $1", workspace
        )
        return bool(found == 20)

    async with R(within=40) as recovery:
        await recovery.until(safely(complete))
    bodies = await arena.sinks.bodies(DOCUMENTS, workspace)
    assert len({body.document_id for body in bodies}) == 20
    await eventually(lambda: holds(arena.sinks, bodies), within=30)


def safely(check):
    import asyncpg

    async def inner() -> bool:
        try:
            return await check()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            return False

    return inner
