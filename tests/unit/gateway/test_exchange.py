import asyncio
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from gateway.exchange import unless_gone


class Client:
    """A client that stays until it is told to hang up."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.listening = 0

    async def receive(self) -> dict[str, Any]:
        self.listening += 1
        try:
            await self.gone.wait()
        finally:
            self.listening -= 1
        return {"type": "http.disconnect"}


@pytest.fixture
def client() -> Client:
    return Client()


async def test_the_result_comes_through_and_nobody_listens_any_more(client: Client) -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await unless_gone(client.receive, work()) == 7
    await asyncio.sleep(0)
    assert client.listening == 0
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_an_error_comes_through(client: Client) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await unless_gone(client.receive, work())


async def test_a_client_that_hangs_up_ends_the_work(client: Client) -> None:
    ended = []

    async def work() -> None:
        asyncio.get_running_loop().call_soon(client.gone.set)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(ClientDisconnect):
        await unless_gone(client.receive, work())
    assert ended
    task = asyncio.current_task()
    assert task is not None
    # Taken back: what is awaited next is not cancelled.
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_the_end_of_the_task_itself_stays_one(client: Client) -> None:
    waiting = asyncio.create_task(unless_gone(client.receive, asyncio.Event().wait()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_client_that_hangs_up_as_the_task_is_ended_keeps_it_from_nothing(client: Client) -> None:
    waiting = asyncio.create_task(unless_gone(client.receive, asyncio.Event().wait()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    client.gone.set()
    waiting.cancel()
    with pytest.raises((asyncio.CancelledError, ClientDisconnect)):
        await waiting


async def test_a_time_limit_within_the_work_is_its_own(client: Client) -> None:
    async def work() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await unless_gone(client.receive, work())
