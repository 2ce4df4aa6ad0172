"""Chats under faults: more questions than answers."""

import asyncio
from collections import Counter
from time import monotonic

import httpx
import pytest

from tests.eventually import eventually
from tests.faults.arena import Arena
from tests.faults.chats import SLOTS, Chat, chatting, idle, question, said
from tests.faults.conftest import Kept
from tests.faults.invariants import once
from tests.faults.test_gateway import tenant_of
from tests.flow.tenant import Tenant
from topics.catalogue import CHAT_REQUESTS

FLOOD, AT_ONCE, ANSWER_S = 400, 100, 0.25
"""Two slots answer eight questions a second, so 64 within a deadline: of a hundred at once a third is too much."""


@pytest.mark.fault(40)
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_flood_of_questions_is_refused_in_time_and_the_backlog_drains(
    arena: Arena, kept_mill: Kept, workspace: str, calm: str
) -> None:
    async with chatting(arena, kept_mill) as chat:
        chat.writer.takes_s = ANSWER_S
        noisy, quiet = await tenant_of(arena, chat.door, workspace), await tenant_of(arena, chat.door, calm)
        async with noisy.client, quiet.client:
            for number in range(3):
                assert await said(noisy, f"Warm {number}?") == chat.writer.answer(f"Warm {number}?")
            flooding = asyncio.create_task(flood(noisy))
            waited = []
            for number in range(5):
                began = monotonic()
                assert await said(quiet, f"Quiet {number}?") == chat.writer.answer(f"Quiet {number}?")
                waited.append(monotonic() - began)
            answers = await flooding
            statuses = Counter(answer.status_code for _, answer in answers)
            print(statuses, "quiet", [f"{seconds:.2f} s" for seconds in waited])  # noqa: T201 - a measurement
            ended_clearly(chat, answers, statuses)
            await eventually(lambda: idle(chat), within=60, every=0.2)
            assert await chat.workers.metric("lag", worker="inference") == 0
            # What was refused may come back now.
            assert await said(noisy, "Now?") == chat.writer.answer("Now?")
    on_log = [body.messages[-1].content for body in await arena.sinks.bodies(CHAT_REQUESTS, workspace)]
    asked = {status: {text for text, answer in answers if answer.status_code == status} for status in (200, 429, 504)}
    assert asked[200] | asked[504] <= set(on_log), "an answer to a question that is not on the log"
    assert not asked[429] & set(on_log), "what was refused is on the log"
    once(on_log)


async def flood(tenant: Tenant) -> list[tuple[str, httpx.Response]]:
    """Ask all, many at once, the next whatever the last was answered; return questions and answers."""
    limits = httpx.Limits(max_connections=AT_ONCE)
    slots = asyncio.Semaphore(AT_ONCE)
    headers = {"authorization": tenant.client.headers["authorization"]}

    async def ask(number: int) -> tuple[str, httpx.Response]:
        text = f"Drop {number}?"
        async with slots:
            return text, await client.post("/v1/chat", json=question(text))

    async with httpx.AsyncClient(base_url=tenant.client.base_url, headers=headers, timeout=60, limits=limits) as client:
        return await asyncio.gather(*(ask(number) for number in range(FLOOD)))


def ended_clearly(chat: Chat, answers: list[tuple[str, httpx.Response]], statuses: Counter[int]) -> None:
    # 503: a broker that is out of breath has not acknowledged a question in time.
    assert set(statuses) <= {200, 429, 503, 504}, statuses
    assert statuses[200] >= SLOTS / ANSWER_S, statuses
    assert statuses[429] >= FLOOD / 4, statuses
    for text, answer in answers:
        if answer.status_code == 200:
            assert answer.json()["answer"] == chat.writer.answer(text)
        elif answer.status_code == 429:
            assert answer.json()["code"] == "overloaded"
            assert 1 <= int(answer.headers["retry-after"]) <= FLOOD
        else:
            assert answer.json()["code"] in {"deadline_passed", "broker_unavailable"}
