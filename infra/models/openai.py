"""Encodes texts on a server that speaks OpenAI's `POST /v1/embeddings` (vLLM, TEI, llama.cpp, Ollama, OpenAI)."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, NoReturn

import httpx
import numpy as np
import stamina
from pydantic import BaseModel, Field, ValidationError

from infra.errors import Permanent, Transient
from infra.models.encoder import Encoder, FloatArray, Use, normalised
from infra.transport import transport
from schemas.dead_letters import Reason

DEPENDENCY = "encoder"
TEXTS_PER_REQUEST = 64
REQUESTS_AT_ONCE = 2
ATTEMPTS = 3
CHARACTERS_PER_TOKEN = 4
"""OpenAI's rule of thumb for English; the model's tokenizer is on the server, so a cut here is only approximate."""

_REFUSED = frozenset({400, 413, 422})
"""Statuses that blame the text. A wrong key, address or model (401, 403, 404) is for an operator to mend: it must pause
the worker, not empty its topic into dead letters."""
_TOO_MANY = 429
_SERVER_ERROR = 500


class _Embedding(BaseModel):
    index: int
    embedding: list[float | None]
    """Servers whose model gave NaN write null, which JSON has in its place."""


class _Answer(BaseModel):
    data: Annotated[list[_Embedding], Field(min_length=1)]


class OpenAIEncoder(Encoder):
    """A served model. Vectors are scaled to unit length here, whatever the server does."""

    def __init__(self, client: httpx.AsyncClient, model: str, dimension: int, max_tokens: int) -> None:
        super().__init__(model, dimension, max_tokens)
        self._client = client
        self._room = asyncio.Semaphore(REQUESTS_AT_ONCE)

    @classmethod
    async def open(cls, url: str, model: str, *, key: str, max_tokens: int, timeout_s: float) -> "OpenAIEncoder":
        """Connect, and learn the dimension from a first text. Raises Transient, or Permanent if the server refuses it.

        `url` is the server's address, with or without `/v1` or `/v1/embeddings` at its end.
        """
        headers = {"authorization": f"Bearer {key}"} if key else {}
        client = httpx.AsyncClient(base_url=_address(url), headers=headers, timeout=timeout_s, transport=transport())
        try:
            (vector,) = await _ask(client, model, ["dimension"])
        except BaseException:
            await client.aclose()
            raise
        return cls(client, model, len(vector), max_tokens)

    async def _vectors(self, texts: Sequence[str], use: Use) -> FloatArray:  # noqa: ARG002 - the protocol knows no use
        limit = self.max_tokens * CHARACTERS_PER_TOKEN
        cut = [text[:limit] for text in texts]
        parts = [cut[at : at + TEXTS_PER_REQUEST] for at in range(0, len(cut), TEXTS_PER_REQUEST)]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._part(part)) for part in parts]
        except ExceptionGroup as faults:
            # A server that is away speaks for no text: only if it is there does its refusal count.
            passing = (fault for fault in faults.exceptions if isinstance(fault, Transient))
            raise next(passing, faults.exceptions[0]) from faults
        return np.concatenate([task.result() for task in tasks])

    async def _part(self, texts: list[str]) -> FloatArray:
        async with self._room:
            rows = await _ask(self._client, self.model_id, texts)
        if any(len(row) != self.dimension for row in rows):
            raise Permanent(Reason.INVALID_VECTOR, f"{self.model_id}: a vector has not {self.dimension} components")
        return normalised(np.asarray(rows, dtype=np.float32))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _address(url: str) -> str:
    stem = url.rstrip("/").removesuffix("/embeddings")
    return stem if stem.endswith("/v1") else f"{stem}/v1"


def _passes(fault: Exception) -> bool:
    if isinstance(fault, httpx.HTTPStatusError):
        return fault.response.status_code == _TOO_MANY or fault.response.status_code >= _SERVER_ERROR
    return isinstance(fault, httpx.TransportError)


async def _ask(client: httpx.AsyncClient, model: str, texts: list[str]) -> list[list[float | None]]:
    try:
        async for attempt in stamina.retry_context(on=_passes, attempts=ATTEMPTS, wait_initial=0.1, wait_max=2.0):
            with attempt:
                response = await client.post("/embeddings", json={"model": model, "input": texts})
                response.raise_for_status()
    except httpx.HTTPStatusError as error:
        _raise_for(error.response)
    except httpx.HTTPError as error:
        raise Transient(DEPENDENCY, f"{type(error).__name__}: {error}") from error
    return _rows(response, len(texts))


def _raise_for(response: httpx.Response) -> NoReturn:
    if response.status_code in _REFUSED:
        # The answer may quote the text: only the status goes to operators.
        raise Permanent(Reason.REFUSED_BY_SINK, f"the encoder's server refused the text: {response.status_code}")
    wait = response.headers.get("retry-after", "")
    raise Transient(DEPENDENCY, f"status {response.status_code}", float(wait) if wait.isdecimal() else None)


def _rows(response: httpx.Response, expected: int) -> list[list[float | None]]:
    try:
        data = _Answer.model_validate_json(response.content).data
    except ValidationError as error:
        raise Transient(DEPENDENCY, f"answers what is no embeddings list ({error.error_count()} faults)") from error
    if sorted(entry.index for entry in data) != list(range(expected)):
        raise Transient(DEPENDENCY, f"answered {len(data)} vectors for {expected} texts")
    return [entry.embedding for entry in sorted(data, key=lambda entry: entry.index)]
