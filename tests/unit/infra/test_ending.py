import asyncio

from infra.ending import end
from tests.eventually import eventually, lapse


async def test_a_loop_that_has_lost_a_cancel_is_ended_all_the_same() -> None:
    lost = 0

    async def loop() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    task = asyncio.create_task(loop())
    await lapse(0)
    await asyncio.wait_for(end(task, again_s=0.01), 60)
    assert task.cancelled()
    assert lost == 3


async def test_what_a_task_does_to_clean_up_is_waited_for() -> None:
    cleaned = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await lapse(0.05)
            cleaned.append(True)

    task = asyncio.create_task(work())
    await lapse(0)
    await end(task)
    assert cleaned == [True]


async def test_it_returns_whatever_the_tasks_ended_with() -> None:
    async def failing() -> None:
        raise ValueError("not to be seen")

    failed = asyncio.create_task(failing())
    await eventually(failed.done)
    waiting = asyncio.create_task(asyncio.Event().wait())
    await asyncio.wait_for(end(failed, waiting), 60)
    await end()
    assert isinstance(failed.exception(), ValueError)
    assert waiting.cancelled()
