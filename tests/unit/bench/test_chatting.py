"""The instant backend and the client that measures, against each other."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bench.chat import compared
from bench.chatting import client
from bench.chatting.backend import Backend
from bench.chatting.client import Connection, Crossed, Target, ask_all
from bench.chatting.measure import Taken, Way, along, questions


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    server = await asyncio.get_running_loop().create_server(Backend, "127.0.0.1", 0)
    yield Target("backend", server.sockets[0].getsockname()[1])
    server.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_every_question_is_answered_with_itself_over_kept_connections(target: Target, stream: bool) -> None:
    found = await ask_all(target, questions(30), 4, stream=stream)
    assert [asked.status for asked in found] == [200] * 30
    assert all(0 < asked.first_s <= asked.whole_s for asked in found)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_to_another_question_ends_the_run(
    target: Target, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "answer_to", lambda question: f"{question} of somebody else")
    async with Connection(target) as connection:
        with pytest.raises(Crossed):
            await connection.ask("whose?", stream=stream)


async def test_a_held_answer_comes_when_it_is_let_go_and_a_slow_one_takes_its_time(target: Target) -> None:
    Backend.released.clear()
    async with Connection(target) as connection, Connection(target) as other:
        asking = asyncio.create_task(connection.ask("hold 1"))
        assert (await other.ask("slow 0.05 x")).whole_s >= 0.05
        assert not asking.done()
        Backend.released.set()
        assert (await asking).status == 200
    Backend.released.clear()


async def test_cpu_time_is_that_of_a_question_and_ratios_are_those_of_a_round(target: Target) -> None:
    spent = iter([{"gateway": 1.0, "kafka": 5.0}, {"gateway": 1.1, "kafka": 5.3}])
    way = await along(target, 2, 100, stream=False, cpu=lambda: next(spent))
    assert way.cpu_ms == pytest.approx({"gateway": 1.0, "kafka": 3.0})
    assert way.per_core_s == pytest.approx(250)
    ours = [Way(Taken(9, 9, 9), Taken(9, 9, 9), 100, {"gateway": 2.0}), way]
    proxy = [Way(Taken(20, 20, 20), Taken(20, 20, 20), 50, {"litellm": cost}) for cost in (20.0, 8.0)]
    direct = [Way(Taken(1, 2, 3), Taken(1, 2, 3), 1_000, {})] * 2
    shown = compared({"backend": direct, "millrace": ours, "litellm": proxy})
    assert (shown["ratio"]["per_core"]["least"], shown["ratio"]["per_core"]["most"]) == (2, 10)
    assert shown["litellm"]["added_p99_ms"]["median"] == 17
