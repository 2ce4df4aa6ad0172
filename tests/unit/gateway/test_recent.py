"""The few seconds' memory."""

import asyncio

import pytest

from gateway import recent
from gateway.recent import Recent


class Source:
    def __init__(self) -> None:
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails = False

    async def __call__(self, key: str) -> str:
        self.calls += 1
        answer = f"{key}{self.calls}"
        await self.gate.wait()
        if self.fails:
            raise ConnectionError
        return answer


async def test_an_answer_is_remembered_for_its_time() -> None:
    source = Source()
    memory = Recent(source, 60)
    assert [await memory.get("a"), await memory.get("a"), await memory.get("b")] == ["a1", "a1", "b2"]


async def test_nothing_is_remembered_for_no_time() -> None:
    source = Source()
    memory = Recent(source, 0)
    assert [await memory.get("a"), await memory.get("a")] == ["a1", "a2"]


async def test_a_burst_asks_once_and_one_who_hangs_up_takes_nobody_along() -> None:
    source = Source()
    source.gate.clear()
    memory = Recent(source, 60)
    tasks = [asyncio.create_task(memory.get("a")) for _ in range(10)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    source.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert set(results[1:]) == {"a1"}
    assert source.calls == 1


async def test_a_failure_is_not_remembered() -> None:
    source = Source()
    source.fails = True
    memory = Recent(source, 60)
    with pytest.raises(ConnectionError):
        await memory.get("a")
    source.fails = False
    assert await memory.get("a") == "a2"


async def test_what_was_forgotten_while_it_was_asked_is_not_remembered() -> None:
    source = Source()
    source.gate.clear()
    memory = Recent(source, 60)
    early = asyncio.create_task(memory.get("a"))
    await asyncio.sleep(0)
    memory.forget("a")
    source.gate.set()
    assert await early == "a1"
    assert await memory.get("a") == "a2"


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MAX_ENTRIES", 3)
    source = Source()
    memory = Recent(source, 60)
    for key in "abcd":
        await memory.get(key)
    await memory.get("d")
    assert source.calls == 4
    await memory.get("a")
    assert source.calls == 5
