"""A worker process killed at each point of a delivery, on real servers: nothing lost, every effect once.

What the sinks hold afterwards is compared with a serial run of the same stream (`bench.kill.model`).
"""

import signal
from collections.abc import Iterator, Sequence
from itertools import count
from typing import TypeVar
from uuid import uuid4

import pytest

from bench.kill.findings import Findings
from bench.kill.graph import compare_graph
from bench.kill.log import compare_log
from bench.kill.model import World
from bench.kill.quiet import Watch, lag
from bench.kill.stream import UPLOADS, Kind, Step, Stream, Way
from bench.kill.tables import compare_tables
from bench.kill.vectors import compare_vectors
from infra.kafka.codec import decode
from infra.kafka.failpoints import Point
from schemas.documents import DocumentVersion
from schemas.raw import RawEvent
from tests.events import raw_event
from tests.eventually import eventually
from tests.faults.arena import Arena
from tests.faults.conftest import Kept
from tests.faults.invariants import R, Sinks
from tests.faults.running import Running, ending, host, hosting
from topics.catalogue import DEAD_LETTERS, DOCUMENTS, RAW_EVENTS, RECEIPTS

WORKERS = {
    "normalizer": (RAW_EVENTS, "millrace.normalizer"),
    "embedder": (DOCUMENTS, "millrace.embedder.main"),
    "graph_builder": (DOCUMENTS, "millrace.graph_builder"),
    "ledger": (RAW_EVENTS, "millrace.ledger"),
}
"""What each worker reads whose commits are looked at, and its group."""
STEPS = 60
_seeds: Iterator[int] = count(1)
Item = TypeVar("Item")


class Said:
    """A stream put on the log as the gateway would put it, and what must come of it."""

    def __init__(self, seed: int) -> None:
        names = tuple(f"w{uuid4().hex[:12]}" for _ in range(2))
        sources = {(name, source): f"src_{uuid4().hex[:12]}" for name in names for source in ("feed", UPLOADS)}
        self.steps = Stream(seed, names, ("feed",)).steps(STEPS)
        self.world = World.of(self.steps, sources)

    @property
    def events(self) -> list[RawEvent]:
        return [self._event(step) for step in self.steps]

    def _event(self, step: Step) -> RawEvent:
        hook = step.way is Way.HOOK
        return raw_event(
            step.delivery,
            workspace=step.workspace,
            source=self.world.sources[step.workspace, step.source],
            event_id=self.world.event_id(step),
            connector="generic" if hook else "files",
            operation="delete" if step.way is Way.REMOVE else "put",
            subject=step.external_id,
            content_type="application/json" if hook else "text/markdown",
            attributes={} if hook else {"filename": step.external_id, "title": step.title},
            body=step.body if hook else step.text.encode(),
        )


async def differences(arena: Arena, world: World) -> Findings:
    """Compare every sink with the serial run."""
    findings = Findings()
    heads = await compare_tables(arena.sinks.pool, world, findings)
    await compare_log(arena.sinks.bootstrap, arena.sinks.objects, world, heads, findings)
    await compare_vectors(arena.sinks.qdrant, arena.sinks.collection, world, heads, findings)
    await compare_graph(arena.sinks.graph, world, heads, findings)
    assert findings.checked["vector points"]
    return findings


async def committed_is_done(sinks: Sinks, worker: str, world: World) -> None:
    """C: every record of the stream below a committed offset of `worker` has had its effect."""
    topic, group = WORKERS[worker]
    ours = {name.encode() for name in world.workspaces}
    events = await _finished_events(sinks, worker, world) if topic is RAW_EVENTS else set()
    committed = await sinks.committed(group, topic)
    for record in await sinks.records(topic):
        if record.offset >= committed.get(record.partition, 0) or dict(record.headers).get("workspace") not in ours:
            continue
        delivery = await decode(record, topic, sinks.objects)
        if delivery is not None:
            body = delivery.body
            done = str(body.event_id) in events if topic is RAW_EVENTS else await _holds(sinks, worker, body)
            assert done, f"{topic.name}-{record.partition}@{record.offset} is committed by {worker}, not done"


async def _finished_events(sinks: Sinks, worker: str, world: World) -> set[str]:
    if worker == "ledger":
        rows = await sinks.pool.fetch("select event_id from events where workspace = any($1)", world.workspaces)
        return {str(row["event_id"]) for row in rows}
    receipts = [body for name in world.workspaces for body in await sinks.bodies(RECEIPTS, name)]
    letters = [body for name in world.workspaces for body in await sinks.bodies(DEAD_LETTERS, name)]
    told = {str(receipt.event_id) for receipt in receipts if receipt.sink == worker}
    return told | {str(letter.event_id) for letter in letters}


async def _holds(sinks: Sinks, worker: str, version: DocumentVersion) -> bool:
    if worker == "graph_builder":
        return (await sinks.graphed_version(version) or 0) >= version.version
    held = await sinks.indexed_version(version)
    return held is not None and held[0] >= version.version


async def killed_at(arena: Arena, failpoint: str) -> Running:
    """Run the workers until the failpoint has killed them."""
    dying = host(arena.environment | {"MILLRACE_FAILPOINTS": failpoint}, arena.folder, *WORKERS)
    async with ending(dying):
        await eventually(lambda: not dying.lives, within=60, every=0.1)
    assert dying.child.popen is not None
    assert dying.child.popen.returncode == -signal.SIGKILL, dying.said()[-3_000:]
    return dying


async def settles(arena: Arena, world: World) -> None:
    """Run the workers without failpoints until all is done and committed: R, then L and O of the whole stream."""
    watch = Watch(arena.sinks.pool, world.workspaces, len(world.events))
    groups = {group for _, group in WORKERS.values()}

    async def quiet() -> bool:
        await watch.look()
        behind = await lag(arena.sinks.bootstrap) if watch.complete else {}
        return watch.complete and not any(behind[name] for name in behind if name.partition(" ")[0] in groups)

    async with hosting(arena.environment, arena.folder, *WORKERS), R(within=90) as recovery:
        await recovery.until(quiet, every=0.5)
    found = await differences(arena, world)
    assert found.clean, dict(found.examples)


def parts(items: Sequence[Item], count: int) -> list[Sequence[Item]]:
    """Cut `items` into `count` parts of about the same length."""
    size = -(-len(items) // count)
    return [items[at : at + size] for at in range(0, len(items), size)]


async def survives(
    arena: Arena, kept_mill: Kept, worker: str, *deaths: tuple[Point, int], said: Said | None = None
) -> World:
    """Say a stream in parts, and have the workers die of each part; start them at last, and compare everything.

    A death is a point of `worker` and at which time there: several, since what one leaves behind meets the next.
    """
    if kept_mill.running is not None:
        await kept_mill.running.kill()
    said = said or Said(next(_seeds))
    for part, (point, hit) in zip(parts(said.events, len(deaths)), deaths, strict=True):
        await arena.accept(*part)
        await killed_at(arena, f"{point}@{worker}=kill:{hit}")
        await committed_is_done(arena.sinks, worker, said.world)
    await settles(arena, said.world)
    return said.world


@pytest.mark.fault(10, 11)
@pytest.mark.parametrize(
    ("worker", "deaths"),
    [
        (
            "normalizer",
            [
                (Point.BEFORE_EFFECTS, 2),
                (Point.AFTER_EFFECTS, 1),
                (Point.AFTER_PUBLISH, 1),
                (Point.BEFORE_COMMIT, 1),
            ],
        ),
        ("embedder", [(Point.BEFORE_EFFECTS, 2), (Point.AFTER_EFFECTS, 1), (Point.AFTER_COMMIT, 1)]),
        ("graph_builder", [(Point.AFTER_PUBLISH, 2), (Point.AFTER_EFFECTS, 1), (Point.BEFORE_COMMIT, 1)]),
        ("ledger", [(Point.AFTER_DECODE, 2), (Point.AFTER_EFFECTS, 1)]),
    ],
    ids=["normalizer", "embedder", "graph_builder", "ledger"],
)
@pytest.mark.slow
async def test_a_worker_killed_at_each_point_of_a_delivery_loses_and_doubles_nothing(
    arena: Arena, kept_mill: Kept, worker: str, deaths: list[tuple[Point, int]]
) -> None:
    await survives(arena, kept_mill, worker, *deaths)


@pytest.mark.fault(11)
async def test_an_effect_whose_offset_is_not_committed_happens_once(arena: Arena, kept_mill: Kept) -> None:
    await survives(arena, kept_mill, "embedder", (Point.AFTER_EFFECTS, 1))


@pytest.mark.fault(12)
@pytest.mark.slow
async def test_a_dead_letter_is_there_at_least_once_and_counts_once(arena: Arena, kept_mill: Kept) -> None:
    deaths = ((Point.BEFORE_DEAD_LETTER, 1), (Point.AFTER_DEAD_LETTER, 1))
    # Each part of the stream must hold poison, or its worker never comes to the point.
    said = next(
        stream
        for stream in map(Said, count(1))
        if all(any(step.kind is Kind.POISON for step in part) for part in parts(stream.steps, len(deaths)))
    )
    world = await survives(arena, kept_mill, "normalizer", *deaths, said=said)
    letters = [letter for name in world.workspaces for letter in await arena.sinks.bodies(DEAD_LETTERS, name)]
    poison = {ended.event_id for ended in world.events.values() if ended.step.kind is Kind.POISON}
    assert len(poison) > 1
    assert {letter.event_id for letter in letters} == poison
    assert len({letter.letter_id for letter in letters}) == len(poison)
    assert len(letters) > len(poison), "the kill came before the letter was durable"
