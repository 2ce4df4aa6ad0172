"""States reach the log in the gate's order, and nobody waits for ever."""

import asyncio
from uuid import UUID

import pytest

from tests.eventually import eventually
from workers.normalizer.flights import Flights

A, B, C = (UUID(int=number) for number in (1, 2, 3))


async def test_a_later_state_waits_for_all_earlier_ones_of_its_documents_and_for_no_other() -> None:
    flights, order = Flights(), []
    gates = {name: asyncio.Event() for name in "1234"}

    async def fly(name: str, *documents: UUID) -> None:
        with flights.one() as flight:
            flight.take(documents)
            await flight.clear()
            order.append(name)
            await gates[name].wait()

    async with asyncio.TaskGroup() as group:
        for name, documents in (("1", (A, B)), ("2", (B, C)), ("3", (A,)), ("4", (UUID(int=4),))):
            group.create_task(fly(name, *documents))
        await eventually(lambda: order == ["1", "4"])
        gates["4"].set()
        gates["1"].set()
        await eventually(lambda: order == ["1", "4", "2", "3"])
        gates["2"].set()
        gates["3"].set()
    assert flights._live == {}


async def test_what_fails_holds_up_nobody_and_what_stood_before_it_still_does() -> None:
    flights = Flights()
    with flights.one() as first:
        first.take([A])
        with pytest.raises(LookupError):
            _fail(flights)
        with flights.one() as third:
            third.take([A])
            waiting = asyncio.create_task(third.clear())
            done, _ = await asyncio.wait([waiting], timeout=0.05)
            assert not done
            first.end()
            await waiting


def _fail(flights: Flights) -> None:
    with flights.one() as flight:
        flight.take([A])
        raise LookupError
