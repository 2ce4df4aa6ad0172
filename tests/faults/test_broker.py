"""A broker that restarts, freezes, is cut off, is slow, is silent, or loses one answer."""

import pytest

from tests.eventually import lapse
from tests.faults.arena import Arena, corpus
from tests.faults.invariants import B, C, L, O, R, once
from tests.faults.proxy import BOTH, PRODUCE, Way, kafka_request
from tests.faults.running import Running, hosting
from tests.faults.test_sinks import holds, settled
from topics.catalogue import DOCUMENTS, RECEIPTS

GRAPH_GROUP, INDEX_GROUP = "millrace.graph_builder", "millrace.embedder.main"
RESIDENT = 400_000_000
"""Bytes that the workers' one process may take; idle it takes about half."""


async def kept(arena: Arena, workspace: str, calm: str, mill: Running, within: float) -> None:
    """All twenty documents arrive in time, each once, as they do in peace; nothing is committed that is not done."""
    versions = corpus(workspace, 20)
    async with R(within) as recovery:
        await recovery.until(lambda: holds(arena.sinks, versions))
        await recovery.until(lambda: arena.receipts(versions, "embedder/main"))
        await recovery.until(lambda: arena.receipts(versions, "graph_builder"))
    await settled(arena, calm, 20)
    await O(arena.sinks, workspace, calm)
    finished = {str(body.event_id) for body in await arena.sinks.bodies(DOCUMENTS, workspace)}
    others = {dict(record.headers)["ce_id"].decode() for record in await arena.sinks.records(DOCUMENTS)}
    mine = {str(version.event_id) for version in versions}
    assert mine <= finished
    for group in (GRAPH_GROUP, INDEX_GROUP):
        await C(arena.sinks, group, DOCUMENTS, others - mine | finished)
    await L(arena.sinks, versions)
    await B(mill, in_flight=2_000, resident_bytes=RESIDENT)


@pytest.mark.fault(1)
@pytest.mark.slow
async def test_a_broker_restart(arena: Arena, mill: Running, workspace: str, calm: str) -> None:
    (broker,) = arena.cluster.brokers
    await arena.put(*corpus(workspace, 10))
    await broker.stop()
    broker.start()
    await broker.ready()
    await arena.put(*corpus(workspace, 10, first=10))
    await kept(arena, workspace, calm, mill, within=40)


@pytest.mark.fault(4)
@pytest.mark.slow
async def test_a_broker_that_is_frozen_for_half_a_minute(
    arena: Arena, mill: Running, workspace: str, calm: str
) -> None:
    (broker,) = arena.cluster.brokers
    await arena.put(*corpus(workspace, 10))
    broker.freeze()
    await lapse(30)
    assert (await mill.health("live"))[0] == 200
    broker.thaw()
    await broker.ready()
    await arena.put(*corpus(workspace, 10, first=10))
    await kept(arena, workspace, calm, mill, within=60)


@pytest.mark.fault(5)
async def test_workers_cut_off_from_the_broker(arena: Arena, mill: Running, workspace: str, calm: str) -> None:
    proxy = arena.cluster.brokers[0].proxy
    await arena.put(*corpus(workspace, 5))
    await proxy.refuse()
    await arena.put(*corpus(workspace, 15, first=5))
    # Longer than the session: the group has given the partitions away when the worker is back.
    await lapse(4)
    await proxy.heal()
    await kept(arena, workspace, calm, mill, within=40)


@pytest.mark.fault(5)
@pytest.mark.slow
async def test_connections_that_are_cut_every_second(arena: Arena, mill: Running, workspace: str, calm: str) -> None:
    proxy = arena.cluster.brokers[0].proxy
    for number in range(10):
        await arena.put(*corpus(workspace, 2, first=2 * number))
        proxy.cut()
        await lapse(1)
    await kept(arena, workspace, calm, mill, within=60)


@pytest.mark.fault(6)
@pytest.mark.slow
async def test_a_slow_link(arena: Arena, mill: Running, workspace: str, calm: str) -> None:
    arena.cluster.brokers[0].proxy.delay_s = {Way.TO_CLIENT: 0.15, Way.TO_SERVER: 0.05}
    await arena.put(*corpus(workspace, 20))
    await kept(arena, workspace, calm, mill, within=60)


@pytest.mark.fault(7)
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_connections_that_swallow_what_is_sent(arena: Arena, mill: Running, workspace: str, calm: str) -> None:
    proxy = arena.cluster.brokers[0].proxy
    await arena.put(*corpus(workspace, 10))
    proxy.swallow = BOTH
    await arena.put(*corpus(workspace, 10, first=10))
    await lapse(5)
    # The link carries again, but the old connections stay silent: each end must give them up by itself.
    proxy.swallow = frozenset()
    await kept(arena, workspace, calm, mill, within=120)


@pytest.mark.fault(8)
async def test_a_lost_acknowledgement_doubles_nothing(arena: Arena, mill: Running, workspace: str, calm: str) -> None:
    proxy = arena.cluster.brokers[0].proxy
    before = proxy.dropped
    proxy.drop_next_response(kafka_request(PRODUCE))
    await arena.put(*corpus(workspace, 20))
    await kept(arena, workspace, calm, mill, within=60)
    assert proxy.dropped == before + 1
    receipts = await arena.sinks.bodies(RECEIPTS, workspace)
    once((receipt.event_id, receipt.sink) for receipt in receipts)


@pytest.mark.fault(1, 13)
@pytest.mark.parametrize("away", [False, True], ids=["in peace", "without a broker"])
@pytest.mark.slow
async def test_a_clean_stop_is_over_in_time(arena: Arena, workspace: str, away: bool) -> None:
    async with hosting(arena.environment, arena.folder, "graph_builder", "ledger") as running:
        await arena.put(*corpus(workspace, 5))
        if away:
            await arena.cluster.brokers[0].proxy.refuse()
            await arena.put(*corpus(workspace, 5, first=5))
        assert await running.terminate() < 30
