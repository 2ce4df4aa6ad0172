"""Encodes questions together that are asked at about the same time, where a model takes one call after the other."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from infra.models.encoder import Encoder, FloatArray

MOST = 16
"""Questions encoded in one call. A model reads all its weights for each call: with eight at a time a question takes .55
of the CPU time that it takes alone, with sixteen half, with more no less (`bench/encoder.py`, MiniLM on 2 cores)."""


class Gathering:
    """Encodes one call after the other; the questions that come meanwhile go along with the next.

    A question that comes alone waits for nobody.
    """

    def __init__(self, encode: Callable[[Sequence[str]], Awaitable[FloatArray]], most: int = MOST) -> None:
        self._encode = encode
        self._most = most
        self._waiting: deque[tuple[str, asyncio.Future[FloatArray]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def one(self, text: str) -> FloatArray:
        """Return the vector [dimension] of `text`. Raises what encoding it raises."""
        vector: asyncio.Future[FloatArray] = asyncio.get_running_loop().create_future()
        self._waiting.append((text, vector))
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="encode questions")
        return await vector

    async def _run(self) -> None:
        try:
            while batch := self._next():
                await self._encoded(batch)
        finally:
            self._task = None
            # Left over only where this task was cancelled: nobody would ever encode them.
            for _, vector in self._waiting:
                vector.cancel()
            self._waiting.clear()

    def _next(self) -> list[tuple[str, asyncio.Future[FloatArray]]]:
        batch: list[tuple[str, asyncio.Future[FloatArray]]] = []
        while self._waiting and len(batch) < self._most:
            text, vector = self._waiting.popleft()
            # Whoever asked may have gone.
            if not vector.done():
                batch.append((text, vector))
        return batch

    async def _encoded(self, batch: Sequence[tuple[str, asyncio.Future[FloatArray]]]) -> None:
        try:
            vectors = await self._encode([text for text, _ in batch])
        except Exception as error:  # noqa: BLE001 - handed to whoever asked
            if len(batch) > 1:
                # One of them is at fault: each alone, so that its neighbours pass.
                for each in batch:
                    await self._encoded([each])
                return
            _, vector = batch[0]
            if not vector.done():
                vector.set_exception(error)
        except BaseException:
            for _, vector in batch:
                vector.cancel()
            raise
        else:
            for (_, vector), row in zip(batch, vectors, strict=True):
                if not vector.done():
                    vector.set_result(row)


class GatheringEncoder(Encoder):
    """An encoder in this process, whose model takes one call after the other anyway."""

    def __init__(self, model_id: str, dimension: int, max_tokens: int) -> None:
        super().__init__(model_id, dimension, max_tokens)
        self._questions = Gathering(self.encode_queries)

    async def encode_query(self, text: str) -> FloatArray:
        """Return float32 [dimension], unit length; questions that wait for the model are encoded together."""
        return await self._questions.one(text)
