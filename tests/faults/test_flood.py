"""A workspace that sends far faster than anybody reads: it is told to wait, the others are not, and all drains."""

import asyncio
from collections import Counter
from time import monotonic
from uuid import uuid4

import httpx
import pytest

from infra.kafka.codec import encode, new_envelope
from infra.redis.rates import Rate
from schemas.documents import DocumentVersion
from schemas.envelope import Envelope
from tests.eventually import eventually
from tests.faults.arena import Arena, corpus
from tests.faults.conftest import WORKERS
from tests.faults.invariants import B, R, once
from tests.faults.proxy import Way
from tests.faults.running import Running, ending, gateway, hosting
from tests.faults.test_gateway import tenant_of
from tests.faults.test_sinks import holds
from tests.flow.tenant import Tenant, all_settled
from topics.catalogue import DOCUMENTS, RAW_EVENTS

FLOOD = Rate(10, 60)
EVENTS, PARTITIONS = 4_000, 2
HELD_RECORDS = 1_000
IN_FLIGHT = PARTITIONS * 1_500
"""Records that a worker may hold: a thousand per partition, and the fetch that went over it."""
GROWTH = 1.3
"""Memory of the workers under a backlog, against what they took before."""


@pytest.mark.fault(40)
@pytest.mark.slow
async def test_a_flood_is_told_to_wait_and_the_others_do_not_feel_it(
    arena: Arena, mill: Running, workspace: str, calm: str
) -> None:
    told = {"MILLRACE_EVENTS_PER_S": str(FLOOD.per_s), "MILLRACE_EVENTS_BURST": str(FLOOD.burst)}
    doors = [gateway(arena.environment | told, arena.folder) for _ in range(2)]
    async with ending(*doors):
        for door in doors:
            await door.ready()
        noisy = [await tenant_of(arena, door, workspace) for door in doors]
        quiet = await tenant_of(arena, doors[0], calm)
        async with noisy[0].client, noisy[1].client, quiet.client:
            began, before = monotonic(), [door.resident_bytes for door in doors]
            flooding = asyncio.create_task(flood(noisy, 600))
            # While it lasts: what the others send is taken and found in time.
            async with R(30):
                weirs = [f"The weir is {number} metres high." for number in range(5)]
                await asyncio.gather(*(quiet.upload_and_settle(text, text[12:13]) for text in weirs))
                assert await quiet.passages("How high is the weir?")
            answers = await flooding
            took = monotonic() - began
            refused_politely(answers)
            accepted = [answer.json()["event_id"] for answer in answers if answer.status_code == 202]
            # Two gateways, one bound: the burst, and the rate since; a window's share for the approximation.
            assert FLOOD.burst <= len(accepted) <= 2 * FLOOD.burst + FLOOD.per_s * took
            assert all(door.resident_bytes < past + 50_000_000 for door, past in zip(doors, before, strict=True))
            for event in await all_settled(noisy[0], accepted, within=60):
                assert event["state"] == "complete", event
    on_log = [str(event.event_id) for event in await arena.sinks.bodies(RAW_EVENTS, workspace)]
    once(on_log)
    assert set(on_log) == set(accepted), "the log holds what was accepted, and nothing that was refused"


async def flood(tenants: list[Tenant], count: int) -> list[httpx.Response]:
    """Send `count` documents through all gateways, 40 at once, without waiting for anybody."""
    slots = asyncio.Semaphore(40)

    async def send(number: int) -> httpx.Response:
        document = {"text": f"Drop {number}.", "external_id": f"drop-{number}-{uuid4().hex}"}
        async with slots:
            return await tenants[number % len(tenants)].client.post("/v1/documents", json=document)

    return await asyncio.gather(*(send(number) for number in range(count)))


def refused_politely(answers: list[httpx.Response]) -> None:
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {202, 429}, statuses
    for answer in answers:
        if answer.status_code == 429:
            assert answer.json()["code"] == "too_many_events"
            assert 1 <= int(answer.headers["retry-after"]) <= 2 * FLOOD.window_s


@pytest.mark.fault(40)
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("nothing_left")
async def test_a_backlog_stays_on_the_log_and_drains(arena: Arena, workspace: str) -> None:
    # A window that the flood does not fit into, as a larger one would not fit into the usual window.
    told = arena.environment | {"MILLRACE_HELD_RECORDS": str(HELD_RECORDS)}
    async with hosting(told, arena.folder, *WORKERS) as mill:
        await backlog_drains(arena, mill, workspace)


async def backlog_drains(arena: Arena, mill: Running, workspace: str) -> None:
    await eventually(lambda: drained(mill), within=60, every=0.5)
    idle = mill.resident_bytes
    arena.proxies["door"].delay_s = {Way.TO_CLIENT: 0.2}
    arena.proxies["neo4j"].delay_s = {Way.TO_CLIENT: 0.2}
    versions = corpus(workspace, EVENTS)
    for start in range(0, len(versions), 500):
        part = [
            await encode(DOCUMENTS, each, envelope_of(each), arena.sinks.objects, partition=number % PARTITIONS)
            for number, each in enumerate(versions[start : start + 500])
        ]
        await arena.publisher.send(part)
        await bounded(mill, idle)
    # The producer has ended, and most of it still waits.
    await eventually(lambda: behind(mill, EVENTS // 2), within=20, every=0.2)
    await bounded(mill, idle)
    await arena.heal()
    await eventually(lambda: drained(mill), within=240, every=1)
    await eventually(lambda: holds(arena.sinks, versions[:: EVENTS // 40]), within=60)
    await B(mill, in_flight=0, resident_bytes=int(GROWTH * idle))


def envelope_of(version: DocumentVersion) -> Envelope:
    return new_envelope(version, id=version.event_id, source=version.source)


async def bounded(mill: Running, idle: int) -> None:
    for worker in ("embedder", "graph_builder", "ledger"):
        assert await mill.metric("in_flight", worker=worker) <= IN_FLIGHT < EVENTS
    await B(mill, in_flight=3 * IN_FLIGHT, resident_bytes=int(GROWTH * idle))


async def behind(mill: Running, least: int) -> bool:
    return await mill.metric("lag", worker="graph_builder") >= least


async def drained(mill: Running) -> bool:
    return await mill.metric("in_flight") == 0 and await mill.metric("lag") == 0
