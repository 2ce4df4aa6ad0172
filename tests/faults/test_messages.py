"""Input that is wrong, repeated or out of order: each ends in exactly one place, and the newest version wins."""

import random
from uuid import uuid4

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from infra.kafka.codec import new_envelope
from schemas.dead_letters import Reason
from tests.events import document, raw_event
from tests.eventually import eventually
from tests.faults.arena import Arena, corpus, note
from tests.faults.invariants import L, O, once
from tests.faults.running import Running
from topics.catalogue import DEAD_LETTERS, DOCUMENTS, RAW_EVENTS

Header = tuple[str, bytes | None]


async def produce(arena: Arena, topic: str, value: bytes | None, headers: list[Header], key: bytes = b"k") -> int:
    """Write a record past our own publisher; return its offset in partition 0."""
    producer = AIOKafkaProducer(bootstrap_servers=arena.cluster.direct)
    await producer.start()
    try:
        return int((await producer.send_and_wait(topic, value, key=key, partition=0, headers=headers)).offset)
    finally:
        await producer.stop()


@pytest.mark.fault(19)
async def test_a_hundred_deliveries_of_one_event_have_one_effect(arena: Arena, mill: Running, workspace: str) -> None:
    first = note(workspace, "repeated", "A note that is sent a hundred times.")
    await arena.accept(*[first] * 100)
    last = note(workspace, "last", "A note behind them all.")
    await arena.accept(last)

    async def normalised() -> bool:
        found = await arena.sinks.pool.fetchval(
            "select count(*) from events where workspace = $1 and outcome is not null", workspace
        )
        return bool(found == 2)

    await eventually(normalised, within=30)
    bodies = [body for body in await arena.sinks.bodies(DOCUMENTS, workspace) if body.event_id == first.event_id]
    once(body.document_id for body in bodies)
    assert len(bodies) == 1


@pytest.mark.fault(20)
async def test_versions_in_any_order_end_at_the_newest(arena: Arena, mill: Running, workspace: str, calm: str) -> None:
    versions = [each for number in range(1, 6) for each in corpus(workspace, 4, version=number)]
    random.Random(20).shuffle(versions)
    await arena.put(*versions)
    await eventually(lambda: complete(arena, versions), within=30)
    await arena.put(*corpus(calm, 4, version=5))
    await eventually(lambda: complete(arena, corpus(calm, 4, version=5)), within=30)
    await O(arena.sinks, workspace, calm)


async def complete(arena: Arena, versions: list) -> bool:
    """Whether every single version has its receipts, and the sinks hold the newest."""
    sinks = ("embedder/main", "graph_builder")
    found = await arena.sinks.pool.fetchval(
        "select count(*) from receipts where sink = any($1) and event_id = any($2::uuid[])",
        sinks,
        [version.event_id for version in versions],
    )
    assert found == len(versions) * len(sinks), f"{found} receipts"
    await L(arena.sinks, versions)
    return True


@pytest.mark.fault(21)
async def test_a_delete_before_its_create_and_a_late_update_stay_deleted(
    arena: Arena, mill: Running, workspace: str
) -> None:
    def deletion(name: str) -> object:
        return document("", version=5, workspace=workspace, external_id=name)

    early = [deletion("early"), document("Too late.", version=4, workspace=workspace, external_id="early")]
    late = [
        document("There at first.", version=3, workspace=workspace, external_id="late"),
        deletion("late"),
        document("A stale update.", version=4, workspace=workspace, external_id="late"),
    ]
    await arena.put(*early, *late)
    await eventually(lambda: complete(arena, [*early, *late]), within=30)
    points = await arena.sinks.vectors(workspace)
    assert [point["part"] for point in points] == ["head", "head"]
    assert all(point["deleted"] for point in points)
    assert not [line for line in await arena.sinks.graph_digest(workspace) if "Entity" in line or "STATES" in line]


@pytest.mark.fault(23, 24, 28, 54)
async def test_poison_is_buried_once_and_its_neighbours_pass(arena: Arena, mill: Running, workspace: str) -> None:
    body = note(workspace, "poisoned", "text")
    good = new_envelope(body, id=body.event_id, source="src_a").headers()
    value = body.model_dump_json().encode()
    stranger = [(name, b"another" if name == "workspace" else held) for name, held in good]
    future = [(name, b"raw.event/99" if name == "schema" else held) for name, held in good]
    foreign = [(name, b"receipt/1" if name == "schema" else held) for name, held in good]
    poison: list[tuple[bytes | None, list[Header], Reason]] = [
        (b"{not json", list(good), Reason.INVALID_JSON),
        (b"\xff\xfe\x00", list(good), Reason.INVALID_JSON),
        (b"{}", list(good), Reason.SCHEMA_VIOLATION),
        (None, list(good), Reason.NULL_BODY),
        (value, [], Reason.INVALID_HEADERS),
        (value, [*good, ("x", None)], Reason.INVALID_HEADERS),
        (value, [*good, ("x", b"\xff\xfe")], Reason.INVALID_HEADERS),
        (value, future, Reason.SCHEMA_UNSUPPORTED),
        (value, foreign, Reason.SCHEMA_UNKNOWN),
        (value, stranger, Reason.WORKSPACE_MISMATCH),
    ]
    since = await arena.sinks.ends(DEAD_LETTERS)
    await arena.accept(note(workspace, "before", "A neighbour before."))
    places = {await produce(arena, RAW_EVENTS.name, sent, headers): reason for sent, headers, reason in poison}
    await arena.accept(note(workspace, "behind", "A neighbour behind."))

    async def buried() -> bool:
        letters = [each for each in await arena.sinks.letters(RAW_EVENTS, since) if each.partition == 0]
        found = {each.offset: each.reason for each in letters}
        assert found == places, found
        return True

    await eventually(buried, within=30, every=0.3)
    every = await arena.sinks.letters(RAW_EVENTS, since)
    others = {each.reason for each in every if each.worker != "normalizer"}
    assert others <= {Reason.SCHEMA_UNSUPPORTED}, "the ledger, which reads them too, buried what nobody can read"
    letters = [each for each in every if each.worker == "normalizer"]
    once((each.partition, each.offset) for each in letters)
    kept = {each.offset: each for each in letters}
    for (sent, headers, _), offset in zip(poison, places, strict=True):
        assert kept[offset].value == sent
        assert [(header.name, header.value) for header in kept[offset].headers] == headers

    async def passed() -> bool:
        names = {each.external_id for each in await arena.sinks.bodies(DOCUMENTS, workspace)}
        return names == {"before", "behind"}

    await eventually(passed, within=20)


@pytest.mark.fault(28)
async def test_a_future_field_is_tolerated(arena: Arena, mill: Running, workspace: str) -> None:
    body = note(workspace, "future", "From a newer gateway.")
    value = orjson.dumps(orjson.loads(body.model_dump_json()) | {"a_field_of_next_year": {"x": 1}})
    await produce(arena, RAW_EVENTS.name, value, list(new_envelope(body, id=body.event_id, source="s").headers()))

    async def passed() -> bool:
        return [each.external_id for each in await arena.sinks.bodies(DOCUMENTS, workspace)] == ["future"]

    await eventually(passed, within=20)


@pytest.mark.fault(54)
async def test_a_workspace_named_in_a_payload_counts_for_nothing(arena: Arena, mill: Running, workspace: str) -> None:
    forged = orjson.dumps({"id": "doc", "workspace": "victim", "text": "I am of the victim's.", "version": 1})
    event = raw_event(f"d-{uuid4().hex}", workspace=workspace, connector="generic", subject="", body=forged)
    await arena.accept(event.model_copy(update={"content_type": "application/json"}))

    async def passed() -> bool:
        return [each.workspace for each in await arena.sinks.bodies(DOCUMENTS, workspace)] == [workspace]

    await eventually(passed, within=20)
    assert not await arena.sinks.vectors("victim")
