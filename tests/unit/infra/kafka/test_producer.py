"""Waiting for acknowledgements; the wire itself is tested on a real broker."""

import asyncio
import gc
from typing import Any

import pytest
from aiokafka.errors import NotEnoughReplicasError

from infra.kafka.producer import _acknowledged


def futures(count: int) -> list[asyncio.Future[Any]]:
    return [asyncio.get_running_loop().create_future() for _ in range(count)]


async def test_it_ends_with_the_last_acknowledgement() -> None:
    waiting = futures(3)
    task = asyncio.create_task(_acknowledged(waiting))
    for acknowledgement in waiting[::-1]:
        await asyncio.sleep(0)
        assert not task.done()
        acknowledgement.set_result(None)
    await task


async def test_a_failure_ends_it_whatever_else_is_under_way() -> None:
    waiting = futures(3)
    waiting[0].set_result(None)
    waiting[1].set_exception(NotEnoughReplicasError())
    with pytest.raises(NotEnoughReplicasError):
        await _acknowledged(waiting)
    assert not waiting[2].done()


async def test_giving_up_cancels_nothing_and_leaves_no_error_unseen() -> None:
    loop = asyncio.get_running_loop()
    unseen: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: unseen.append(context))
    waiting = futures(2)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await _acknowledged(waiting)
    assert not any(acknowledgement.cancelled() for acknowledgement in waiting)
    waiting[0].set_exception(NotEnoughReplicasError())
    waiting[1].set_exception(NotEnoughReplicasError())
    await asyncio.sleep(0)
    del waiting
    gc.collect()
    loop.set_exception_handler(None)
    assert unseen == []
