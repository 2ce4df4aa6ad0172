"""What a stack settles before it starts anything."""

import asyncio
import sys
from pathlib import Path

import psutil
import pytest

from infra.local.record import ProcessRecord, State
from infra.local.stack import Stack
from infra.local.state import ADDRESSES, Home
from infra.local.table import LLM, chosen


async def test_every_server_has_an_address_before_the_first_process_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that started while Neo4j was still being fetched had no NEO4J_URI, and ended three times."""
    told: list[dict[str, str]] = []

    async def ensure(stack: Stack, name: str) -> None:
        told.append(stack.site.environment())

    monkeypatch.setattr(Stack, "ensure", ensure)
    stack = Stack(Home.find(tmp_path), tied=True, given={})
    await stack.bring_up(chosen(None, workers=True))
    assert {variable for variable, *_ in ADDRESSES.values()} - {"INFERENCE_URL"} <= told[0].keys()
    assert told[0] == told[-1]


async def test_a_server_outside_gets_no_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"POSTGRES_DSN": "postgresql://somebody@db.example/millrace"}

    async def ensure(stack: Stack, name: str) -> None:
        pass

    monkeypatch.setattr(Stack, "ensure", ensure)
    stack = Stack(Home.find(tmp_path), tied=True, given=given)
    await stack.bring_up(chosen(None, workers=True))
    assert "postgres" not in stack.record.ports
    assert stack.site.environment()["POSTGRES_DSN"] == given["POSTGRES_DSN"]


async def begun(home: Home, monkeypatch: pytest.MonkeyPatch, **fields: str) -> Stack:
    """Return a stack brought up as far as its addresses; `llm` and `given` as for Stack."""

    async def ensure(stack: Stack, name: str) -> None:
        stack.save()

    monkeypatch.setattr(Stack, "ensure", ensure)
    given = {"INFERENCE_URL": fields["url"]} if "url" in fields else {}
    stack = Stack(home, tied=True, given=given, llm=fields.get("llm"))
    await stack.bring_up((*chosen(None, workers=True), *([LLM] if stack.record.llm else [])))
    return stack


async def test_a_language_model_is_told_to_the_workers_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home.find(tmp_path)
    first = await begun(home, monkeypatch, llm="smollm2")
    told = first.site.environment()
    assert told["INFERENCE_URL"] == f"http://127.0.0.1:{first.record.ports['llm']}/v1"
    assert (told["INFERENCE_API_KEY"], told["INFERENCE_MODEL"]) == (first.site.secrets.llm, "smollm2")
    again = await begun(home, monkeypatch)
    assert again.site.environment() == told


async def test_a_model_server_outside_takes_the_place_of_the_remembered_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home.find(tmp_path)
    await begun(home, monkeypatch, llm="smollm2")
    stack = await begun(home, monkeypatch, url="http://gpu.example/v1")
    told = stack.site.environment()
    assert told["INFERENCE_URL"] == "http://gpu.example/v1"
    assert "INFERENCE_API_KEY" not in told, "our own key was sent elsewhere"
    assert "INFERENCE_MODEL" not in told


@pytest.mark.parametrize("given", [{"llm": ""}, {"url": "http://gpu.example/v1"}])
async def test_a_language_model_that_is_wanted_no_more_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    home = Home.find(tmp_path)
    first = await begun(home, monkeypatch, llm="smollm2")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(600)")
    started = psutil.Process(process.pid).create_time()
    program = Path(sys.executable).resolve().name
    first.record.processes[LLM] = ProcessRecord(LLM, State.READY, pid=process.pid, started=started, program=program)
    first.save()
    second = await begun(home, monkeypatch, **given)
    assert await process.wait() == -15
    assert LLM not in second.record.processes
    told = second.site.environment()
    assert told.get("INFERENCE_URL") == given.get("url")
    assert "INFERENCE_API_KEY" not in told
