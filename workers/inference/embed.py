"""Embeds questions that come without a vector, where the routing needs one to tell their kind."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from infra.ending import end
from infra.errors import Permanent, Transient
from infra.models.encoder import Encoder, EncoderError
from infra.models.packed import pack
from infra.telemetry.logs import logger
from schemas.chat import ChatPrompt

AT_MOST_S = 0.25
"""An encoder of this process takes 5 ms. A question waits no longer than this to be routed better."""
log = logger(__name__)


class LateVectors:
    """Questions asked without retrieval were never embedded. The encoder is opened when the first of them comes.

    That one, and those that come while it opens, are not embedded: they count as general. In a process that hosts the
    retriever too, the encoder is the retriever's.
    """

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager[Encoder]]) -> None:
        self._opening = opening
        self._held = AsyncExitStack()
        self._task: asyncio.Task[Encoder | None] | None = None

    async def embedded(self, prompt: ChatPrompt) -> ChatPrompt:
        """Return the prompt with its question's vector, or as it is where there can be none now."""
        if self._task is None:
            self._task = asyncio.create_task(self._open(), name="open the encoder of the router")
        encoder = self._task.result() if self._task.done() else None
        if encoder is None:
            return prompt
        try:
            async with asyncio.timeout(AT_MOST_S):
                vector = await encoder.encode_query(prompt.question)
        except (Transient, Permanent, TimeoutError) as error:
            log.warning("a question is not embedded", cause=type(error).__name__)
            return prompt
        return prompt.model_copy(update={"question_vector": pack(vector), "encoder": encoder.model_id})

    async def wait_open(self) -> None:
        """Return when the encoder is open, or cannot be."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Give the encoder back."""
        if self._task is not None:
            await end(self._task)
        await self._held.aclose()

    async def _open(self) -> Encoder | None:
        try:
            return await self._held.enter_async_context(self._opening())
        except (EncoderError, Transient) as error:
            log.warning("questions without sources are routed as general: no encoder", cause=str(error))
            return None
