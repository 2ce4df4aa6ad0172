"""The model and the worker that asks it, killed and frozen in the middle of an answer.

Workers and a gateway as in production, with SmolLM2 as the model; whoever asks has an answer or a clear error before
the deadline, and one answer only.
"""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import httpx
import pytest

from tests.eventually import eventually
from tests.faults.arena import Arena
from tests.faults.conftest import WORKERS, Kept
from tests.faults.invariants import R, once
from tests.faults.running import Running, ending, gateway, host, hosting
from tests.faults.test_gateway import tenant_of
from tests.flow.tenant import Tenant
from tests.smollm2 import Model, smollm2
from topics.catalogue import CHAT_REPLIES, INTERACTIONS

DEADLINE_S = 60
QUESTION = "How hot does the kiln in Brickwick burn?"
WORDS = 150
LONG = {
    "model": "millrace",
    "stream": True,
    "messages": [{"role": "user", "content": "How is the kiln in Brickwick built? Answer in JSON."}],
    "millrace": {"retrieve": False},
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "parts",
            "schema": {"type": "array", "items": {"enum": ["brick", "clay"]}, "minItems": WORDS, "maxItems": WORDS},
        },
    },
}
"""An answer that cannot be short, so that whatever breaks does so within it."""
OTHERS = tuple(name for name in WORKERS if name != "inference")


@pytest.fixture(scope="module")
async def model() -> AsyncIterator[Model]:
    async with smollm2() as running:
        yield running


@dataclass
class Chat:
    """An inference worker with the model, a gateway, and a tenant who asks."""

    arena: Arena
    told: dict[str, str]
    inference: Running
    tenant: Tenant


@dataclass
class Told:
    """What a reader has of a streamed answer."""

    text: str = ""
    ends: list[dict[str, Any]] = field(default_factory=list)
    """Chunks that end it, and errors."""

    @property
    def whole(self) -> bool:
        """Whether the answer has the form that was asked for, to its end."""
        return self.text.count('"') == 2 * WORDS and self.text.endswith("]")


@pytest.fixture
async def chat(arena: Arena, kept_mill: Kept, model: Model, workspace: str) -> AsyncIterator[Chat]:
    """In place of the shared workers: theirs answers without a model, and would take half of the questions."""
    if kept_mill.running is not None:
        await kept_mill.running.kill()
    told = arena.environment | model.environment
    told |= {"MILLRACE_ANSWER_TIMEOUT_S": str(DEADLINE_S), "INFERENCE_BREAKER_REST_S": "2"}
    told |= {"INFERENCE_MAX_TOKENS": "3000", "MILLRACE_INSTANCE": "inference-to-break"}
    door = gateway(told, arena.folder)
    inference = host(told, arena.folder, "inference")
    async with ending(door), hosting(arena.environment, arena.folder, *OTHERS):
        await door.ready()
        await inference.ready()
        tenant = await tenant_of(arena, door, workspace)
        made = Chat(arena, told, inference, tenant)
        async with tenant.client:
            await tenant.upload_and_settle("The kiln in Brickwick burns at 940 degrees.", "kiln")
            yield made
        await made.inference.kill()


@asynccontextmanager
async def reading(tenant: Tenant) -> AsyncIterator[tuple[Told, "asyncio.Task[None]"]]:
    """Ask for a long answer and read along."""
    told = Told()

    async def read() -> None:
        async with tenant.client.stream("POST", "/v1/chat/completions", json=LONG, timeout=DEADLINE_S + 10) as answer:
            assert answer.status_code == 200
            async for line in answer.aiter_lines():
                data = line.removeprefix("data: ")
                if data in {line, "[DONE]"}:
                    continue
                chunk = json.loads(data)
                for choice in chunk.get("choices", []):
                    told.text += choice["delta"].get("content") or ""
                if "error" in chunk or "millrace" in chunk:
                    told.ends.append(chunk)

    task = asyncio.create_task(read())
    try:
        yield told, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ended(told: Told, read: "asyncio.Task[None]", began: float) -> dict[str, Any]:
    """Wait for the end of the stream; return who served it: there is one, and an answer, which none is too late."""
    await asyncio.wait_for(read, DEADLINE_S + 10)
    assert len(told.ends) == 1, told.ends
    assert "error" not in told.ends[0], told.ends
    served: dict[str, Any] = told.ends[0]["millrace"]
    assert served["served_by"] == "openai"
    # It is whole, or it says that it is not.
    assert told.whole or served["degraded"]
    how = "broken off" if served["degraded"] else "whole"
    print(f"answered after {monotonic() - began:.1f} of {DEADLINE_S} s, {how}, {len(told.text)} characters")  # noqa: T201
    return served


async def asked_once(chat: Chat) -> None:
    """Every question of the tenant has one reply that ends it, and one entry in history."""
    interactions = await chat.arena.sinks.bodies(INTERACTIONS, chat.tenant.workspace)
    once(body.request_id for body in interactions)
    replies = await chat.arena.sinks.bodies(CHAT_REPLIES, chat.tenant.workspace)
    once(body.request_id for body in replies if body.kind != "delta")


async def generated(tenant: Tenant) -> bool:
    """Whether the model itself answers a short question now."""
    body = {"model": "millrace", "messages": [{"role": "user", "content": "What is a kiln?"}], "max_tokens": 5}
    try:
        answer = await tenant.client.post("/v1/chat/completions", json=body, timeout=DEADLINE_S)
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and bool(answer.json()["millrace"]["served_by"] == "openai")


@pytest.mark.fault(42)
@pytest.mark.timeout(600)
async def test_a_model_killed_within_an_answer(chat: Chat, model: Model) -> None:
    former, began = model.pid, monotonic()
    async with reading(chat.tenant) as (told, read):
        await eventually(lambda: len(told.text) > 20, within=DEADLINE_S)
        model.signal(signal.SIGKILL)
        await ended(told, read, began)
    async with R(90) as recovery:
        await model.back(former)
        await recovery.until(lambda: generated(chat.tenant), every=1)
    await asked_once(chat)


@pytest.mark.fault(42)
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_model_that_is_frozen(chat: Chat, model: Model) -> None:
    former, began = model.pid, monotonic()
    async with reading(chat.tenant) as (told, read):
        await eventually(lambda: len(told.text) > 20, within=DEADLINE_S)
        model.signal(signal.SIGSTOP)
        # Nothing is said to this one while it waits, so another may answer it.
        quoting = chat.tenant.client.post("/v1/rag/query", json={"query": QUESTION}, timeout=DEADLINE_S + 10)
        quoted, _ = await asyncio.gather(quoting, ended(told, read, began))
    assert quoted.status_code == 200, quoted.text
    assert quoted.json()["served_by"] == "openai" or "940" in quoted.json()["answer"]
    # Unaided: it is asked now and then, and replaced when it stays silent.
    async with R(150) as recovery:
        await model.back(former)
        await recovery.until(lambda: generated(chat.tenant), every=1)
    await asked_once(chat)


@pytest.mark.fault(10, 42)
@pytest.mark.timeout(600)
async def test_a_worker_killed_within_an_answer(chat: Chat) -> None:
    """Its successor writes the answer anew: whoever reads along has it once, whole, before the deadline."""
    began = monotonic()
    async with reading(chat.tenant) as (told, read):
        await eventually(lambda: len(told.text) > 20, within=DEADLINE_S)
        await chat.inference.kill()
        chat.inference = host(chat.told, chat.arena.folder, "inference")
        await ended(told, read, began)
    async with R(60) as recovery:
        await recovery.until(lambda: kept(chat))
        await recovery.until(lambda: generated(chat.tenant), every=1)
    await asked_once(chat)


async def kept(chat: Chat) -> bool:
    return len(await chat.arena.sinks.bodies(INTERACTIONS, chat.tenant.workspace)) == 1
