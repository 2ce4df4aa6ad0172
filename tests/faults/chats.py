"""A chat of these tests' own: a model, the workers between, and a gateway in front."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.faults.arena import Arena
from tests.faults.conftest import Kept
from tests.faults.running import Running, ending, gateway, host
from tests.faults.writer import Writer
from tests.flow.tenant import Tenant
from tests.unit.gateway.serving import serving

SLOTS, PATIENCE_S = 2, 8
TOLD = {
    "INFERENCE_CONCURRENCY": str(SLOTS),
    "INFERENCE_CHUNK_TIMEOUT_S": "120",
    "MILLRACE_ANSWER_TIMEOUT_S": str(PATIENCE_S),
    "MILLRACE_RETURN_GRACE_S": "0",
}


@dataclass
class Chat:
    """A model, the workers between, and the gateway in front."""

    writer: Writer
    workers: Running
    door: Running


@asynccontextmanager
async def chatting(arena: Arena, kept_mill: Kept, **told: str) -> AsyncIterator[Chat]:
    """Run a chat in place of the shared workers, which would take half of the questions."""
    if kept_mill.running is not None:
        await kept_mill.running.kill()
    writer = Writer()
    async with serving(writer.app()) as url:  # type: ignore[arg-type] # any ASGI application
        environment = arena.environment | TOLD | told | {"INFERENCE_URL": url}
        workers = host(environment, arena.folder, "retriever", "inference")
        door = gateway(environment, arena.folder)
        async with ending(workers, door):
            await workers.ready()
            await door.ready()
            yield Chat(writer, workers, door)
            writer.let.set()


def question(text: str, **fields: object) -> dict[str, object]:
    return {"message": text, "retrieve": False, **fields}


async def said(tenant: Tenant, text: str) -> str:
    """Return the answer to a question."""
    return str((await tenant.post("/v1/chat", question(text)))["answer"])


async def idle(chat: Chat) -> bool:
    """Whether the workers have nothing left to do."""
    return await chat.workers.metric("in_flight") == 0 and await chat.workers.metric("inference_queue_depth") == 0
