import asyncio
from uuid import UUID

import pytest

from infra.queueing.cancels import AskerGone, Cancels
from schemas.chat import ChatRequest
from schemas.chat_cancel import ChatCancel
from tests.chats import request
from tests.eventually import eventually


def cancel(asked: ChatRequest, workspace: str = "acme") -> ChatCancel:
    return ChatCancel(workspace=workspace, request_id=asked.request_id)


async def work(cancels: Cancels, asked: ChatRequest, log: list[str]) -> None:
    async with cancels.heeded(asked.workspace, asked.request_id):
        log.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            log.append("ended")


async def test_a_cancel_ends_the_work_at_once_even_if_heard_twice() -> None:
    cancels, asked, log = Cancels(60), request(), list[str]()
    working = asyncio.create_task(work(cancels, asked, log))
    await eventually(lambda: log == ["begun"])
    cancels.hear(cancel(asked))
    cancels.hear(cancel(asked))
    with pytest.raises(AskerGone):
        await asyncio.wait_for(working, 60)
    assert log == ["begun", "ended"]
    assert not cancels._at_work


async def test_a_cancel_that_comes_first_is_remembered_for_its_time() -> None:
    time = [0.0]
    cancels, asked = Cancels(60, clock=lambda: time[0]), request()
    cancels.hear(cancel(asked))
    with pytest.raises(AskerGone):
        await work(cancels, asked, [])
    time[0] = 61
    async with cancels.heeded(asked.workspace, asked.request_id):
        pass


async def test_nobody_cancels_for_another_workspace() -> None:
    cancels, asked = Cancels(60), request()
    cancels.hear(cancel(asked, "other"))
    async with cancels.heeded(asked.workspace, asked.request_id):
        cancels.hear(cancel(asked, "other"))
        await asyncio.sleep(0)


async def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    cancels = Cancels(60, most=3)
    for number in range(10):
        cancels.hear(ChatCancel(workspace="acme", request_id=UUID(int=number)))
    assert len(cancels) == 3
    async with cancels.heeded("acme", UUID(int=6)):
        pass
    with pytest.raises(AskerGone):
        await work(cancels, request(request_id=UUID(int=7)), [])


async def test_what_has_expired_makes_room() -> None:
    time = [0.0]
    cancels = Cancels(60, clock=lambda: time[0])
    cancels.hear(ChatCancel(workspace="acme", request_id=UUID(int=1)))
    time[0] = 100
    cancels.hear(ChatCancel(workspace="acme", request_id=UUID(int=2)))
    assert len(cancels) == 1


async def test_a_time_out_of_the_work_itself_is_no_cancel() -> None:
    cancels = Cancels(60)
    with pytest.raises(TimeoutError):
        async with cancels.heeded("acme", UUID(int=1)):
            raise TimeoutError


async def test_one_of_two_deliveries_of_a_question_may_end_before_the_other() -> None:
    cancels, asked, log = Cancels(60), request(), list[str]()
    first = asyncio.create_task(work(cancels, asked, log))
    second = asyncio.create_task(work(cancels, asked, log))
    await eventually(lambda: log == ["begun", "begun"])
    first.cancel()
    await asyncio.wait([first])
    cancels.hear(cancel(asked))
    with pytest.raises(AskerGone):
        await asyncio.wait_for(second, 60)
