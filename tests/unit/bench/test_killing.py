import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from bench.kill.findings import Fault, Findings
from bench.kill.killer import LAST, WEIGHTS, Kill, Killer, schedule
from bench.kill.kinds.flood import Waits
from bench.kill.report import Report
from bench.kill.senders import Sent
from bench.kill.stream import Trait
from bench.kill_test import kinds, parse, weights
from tests.eventually import eventually, lapse
from tests.unit.bench.worlds import played, writer


def test_a_seed_is_a_schedule() -> None:
    assert schedule(1, 30, WEIGHTS) == schedule(1, 30, WEIGHTS)
    assert schedule(1, 30, WEIGHTS) != schedule(2, 30, WEIGHTS)


def test_every_target_dies_and_kills_end_before_the_work() -> None:
    kills = schedule(1, 200, WEIGHTS)
    times = Counter(kill.target for kill in kills)
    assert times.keys() == WEIGHTS.keys()
    assert times["stream"] > times["valkey"]
    assert [kill.at for kill in kills] == sorted(kill.at for kill in kills)
    assert 0 < kills[0].at < kills[-1].at <= LAST
    assert {kill.target for kill in schedule(1, len(WEIGHTS), WEIGHTS)} == WEIGHTS.keys()


class Scripted:
    """Victims whose fate is written down."""

    def __init__(self, *, gone: str = "") -> None:
        self.killed: list[str] = []
        self.gone = gone

    async def kill(self, target: str, up_s: float) -> float | None:
        if target == self.gone:
            return None
        self.killed.append(target)
        return asyncio.get_running_loop().time()

    async def back(self, target: str) -> bool:
        return target != "neo4j"


async def test_kills_wait_for_the_progress_that_they_are_bound_to() -> None:
    victims = Scripted()
    share = 0.0
    killer = Killer([Kill(0.1, "gateway"), Kill(0.5, "neo4j")], victims, lambda: share)
    running = asyncio.create_task(killer.run())
    await lapse(0.1)
    assert victims.killed == []
    share = 0.2
    await eventually(lambda: victims.killed)
    assert victims.killed == ["gateway"]
    share = 0.9
    await running
    assert killer.killed.total == 2
    assert list(killer.killed.recoveries_s) == ["gateway"]


async def test_a_kill_that_does_not_take_place_is_told() -> None:
    killer = Killer([Kill(0, "kafka")], Scripted(gone="kafka"), lambda: 1.0)
    await killer.run()
    assert killer.killed.total == 0
    assert "kafka" in killer.killed.missed[0]


def report(findings: Findings, *missed: str) -> Report:
    killer = Killer([], Scripted(), lambda: 1.0)
    killer.killed.missed.extend(missed)
    setting = {"events": 10, "kills": 1, "seed": 1, "encoder": "hash"}
    return Report(setting, findings, Sent(), killer.killed, steps=10, events=9, documents=5, sending_s=1)


def compared() -> Findings:
    findings = Findings()
    findings.checked.update({"documents in Postgres": 5, "documents in the log": 5, "vector points": 9, "searches": 3})
    return findings


def test_a_run_passes_only_if_all_was_compared_all_was_killed_and_nothing_differs() -> None:
    assert report(compared()).passed
    assert not report(Findings()).passed
    assert not report(compared(), "kafka").passed
    lacking = report(compared())
    lacking.lacking.append(Trait.FLOOD)
    assert not lacking.passed
    differing = compared()
    differing.add(Fault.STALE, "graph", "an edge")
    told = report(differing).as_json()
    assert not told["passed"]
    assert told["verdict"]["stale"] == 1
    assert told["findings"] == [{"fault": "stale", "sink": "graph", "count": 1, "examples": ["an edge"]}]


def test_targets_are_those_that_there_are() -> None:
    assert weights("kafka=2,gateway=1") == {"kafka": 2, "gateway": 1}
    with pytest.raises(ValueError, match="nobody"):
        weights("nobody=1")
    assert parse(["--events", "7"]).events == 7


def test_kinds_are_those_that_there_are() -> None:
    assert kinds("equal, flood") == ("equal", "flood")
    assert kinds("") == ()
    with pytest.raises(ValueError, match="nothing"):
        kinds("nothing")


def test_what_waited_beside_a_flood_is_told_apart() -> None:
    says, floods = writer(), replace(writer(), workspace="mill-2")
    others = [says.say(f"other-{at}") for at in range(3)]
    flood = [floods.say(f"flood-{at}", trait=Trait.FLOOD) for at in range(2)]
    own = floods.say("own")
    made = played(*others, *flood, own)
    began = made.began
    times = zip((*others, *flood, own), ((0, 1), (4, 9), (20, 22), (2, 8), (3, 12), (4, 5)), strict=True)
    rows = [
        {
            "event_id": made.event_id(step),
            "workspace": step.workspace,
            "accepted_at": began + timedelta(seconds=accepted),
            "searchable_at": began + timedelta(seconds=searchable),
        }
        for step, (accepted, searchable) in times
    ]
    waits = Waits.of(rows, made)
    assert (waits.lasted_s, waits.flood, waits.beside, waits.otherwise) == (10, [6, 9], [5], [1, 2])
    assert Waits.of(rows[:3], made) == Waits()
    told = report(compared())
    told.waits = waits
    assert told.as_json()["flood"]["searchable_s"]["beside"]["max"] == 5
