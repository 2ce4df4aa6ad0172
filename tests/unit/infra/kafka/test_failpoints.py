import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from time import monotonic

import pytest

from infra.errors import Transient
from infra.kafka import failpoints
from infra.kafka.failpoints import ARMED, Armed, FailpointSettings, Point, arm, parse, reach
from infra.settings import ProcessSettings, SettingsError


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    ARMED.clear()


def settings(text: str) -> FailpointSettings:
    return FailpointSettings(failpoints=text)


def test_nothing_is_armed_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(failpoints.VARIABLE, raising=False)
    arm(FailpointSettings(), ProcessSettings())
    assert ARMED == {}


def test_an_entry_names_point_worker_action_and_number() -> None:
    assert parse("after_effects=kill:3, before_commit@ledger=delay:0.5,after_effects=pause") == {
        Point.AFTER_EFFECTS: [Armed("kill", 3), Armed("pause", 1)],
        Point.BEFORE_COMMIT: [Armed("delay", 0.5, "ledger")],
    }


@pytest.mark.parametrize(
    "text",
    ["nowhere=kill", "after_effects", "after_effects=explode", "after_effects=kill:x", "after_effects=kill:1.5"],
)
def test_what_cannot_be_read_stops_the_start_and_is_named(text: str) -> None:
    with pytest.raises(SettingsError, match=f"{failpoints.VARIABLE}.*{text.split('=', maxsplit=1)[0]}"):
        parse(text)


@pytest.mark.parametrize("number", ["0", "-1"])
def test_a_number_is_positive(number: str) -> None:
    with pytest.raises(SettingsError, match="positive"):
        parse(f"after_commit=raise:{number}")


def test_production_refuses_to_start_with_failpoints() -> None:
    production = ProcessSettings(mode="production")
    arm(settings(""), production)
    with pytest.raises(SettingsError, match="production refuses failpoints"):
        arm(settings("after_effects=kill"), production)
    assert ARMED == {}


async def test_raise_is_a_dependency_that_is_down_for_that_long() -> None:
    arm(settings("before_effects=raise:2"), ProcessSettings())
    for _ in range(2):
        with pytest.raises(Transient, match="before_effects"):
            await reach(Point.BEFORE_EFFECTS, "any")
    await reach(Point.BEFORE_EFFECTS, "any")
    await reach(Point.AFTER_EFFECTS, "any")


async def test_a_point_of_one_worker_is_not_reached_by_another() -> None:
    arm(settings("before_effects@ledger=raise"), ProcessSettings())
    await reach(Point.BEFORE_EFFECTS, "embedder")
    with pytest.raises(Transient):
        await reach(Point.BEFORE_EFFECTS, "ledger")


async def test_delay_waits_each_time() -> None:
    arm(settings("after_decode=delay:0.05"), ProcessSettings())
    started = monotonic()
    await reach(Point.AFTER_DECODE, "any")
    await reach(Point.AFTER_DECODE, "any")
    assert monotonic() - started >= 0.1


async def test_pause_stands_still_from_its_number_on() -> None:
    arm(settings("after_decode=pause:2"), ProcessSettings())
    await reach(Point.AFTER_DECODE, "any")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await reach(Point.AFTER_DECODE, "any")


def test_kill_ends_the_process_at_its_number_and_nothing_of_it_runs_afterwards() -> None:
    program = """
import asyncio
from infra.kafka.failpoints import FailpointSettings, Point, arm, reach
from infra.settings import ProcessSettings
arm(FailpointSettings(failpoints="after_publish=kill:2"), ProcessSettings())
async def main():
    try:
        await reach(Point.AFTER_PUBLISH, "any")
        print("once", flush=True)
        await reach(Point.AFTER_PUBLISH, "any")
    finally:
        print("a farewell", flush=True)
asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout.splitlines()[-1] == "once"


def test_every_point_says_what_is_durable_there() -> None:
    assert all(point.meaning for point in Point)
