"""The small real language model, as a process of a stack of its own that starts it again whenever it ends."""

import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from infra.local.stack import Stack
from infra.local.state import ADDRESSES
from infra.local.table import LLM
from tests.eventually import eventually

Environment = dict[str, str]


@dataclass
class Model:
    """A running SmolLM2."""

    stack: Stack
    client: httpx.AsyncClient

    @property
    def environment(self) -> Environment:
        """What the inference worker is told of it."""
        told = self.stack.site.environment()
        return {name: told[name] for name in ADDRESSES[LLM]}

    @property
    def pid(self) -> int:
        pid = self.stack.record.processes[LLM].pid
        assert pid is not None
        return pid

    def signal(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    async def at_work(self) -> int:
        """How many answers the server itself is writing now."""
        told = self.environment
        headers = {"authorization": f"Bearer {told['INFERENCE_API_KEY']}"}
        answer = await self.client.get(told["INFERENCE_URL"].removesuffix("v1") + "slots", headers=headers)
        return sum(slot["is_processing"] for slot in answer.json())

    async def back(self, former: int) -> None:
        """Wait until another process than `former` serves."""
        record = self.stack.record.processes[LLM]
        await eventually(lambda: record.pid != former and record.state == "ready", within=90)


@asynccontextmanager
async def smollm2() -> AsyncIterator[Model]:
    """Run the pinned model with its four slots. Fetches the weights into the cache if they are not there."""
    folder = Path(tempfile.mkdtemp(prefix="millrace-llm-"))
    try:
        async with (
            httpx.AsyncClient(timeout=60) as client,
            Stack.start(folder / "home", only=set(), llm="smollm2") as stack,
        ):
            await stack.ensure(LLM)
            yield Model(stack, client)
    finally:
        shutil.rmtree(folder)
