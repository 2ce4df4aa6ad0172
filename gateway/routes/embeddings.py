"""OpenAI's embeddings, by the encoder of the live index. The texts go over the log to a worker that holds it."""

import asyncio
import struct
from base64 import b64encode
from contextlib import ExitStack
from typing import Annotated, Any, Literal
from uuid import uuid4

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import Response

from gateway.accepting import PRODUCER
from gateway.auth import NEEDS_KEY, Caller
from gateway.completing import EMBEDDING_MODEL
from gateway.connections import Connections, Held
from gateway.documenting import problems
from gateway.exchange import Exchange
from gateway.problems import EMBEDDINGS_PATH, Code, Problem, invalid_field
from gateway.routes.search import ASKING
from infra.kafka.codec import new_envelope
from infra.postgres.indexes import Index
from infra.telemetry.tracing import inject
from schemas.chat import Embeddings
from schemas.embedding import EmbeddingRequest
from schemas.event import now
from topics.catalogue import EMBEDDING_REQUESTS

router = APIRouter(tags=["search"], dependencies=[NEEDS_KEY])

MAX_INPUTS = 2_048
"""OpenAI's own bound."""
MAX_CHARACTERS = 32_000
"""Of one text: about OpenAI's 8,192 tokens."""
_FLOAT_BYTES = 4


def _listed(given: object) -> object:
    """Return the texts as a list. Raises ValueError for tokens, whose vocabulary only their sender knows."""
    if isinstance(given, list) and any(isinstance(each, int | list) for each in given):
        raise ValueError("arrays of tokens are not read here: send the texts")
    return [given] if isinstance(given, str) else given


class EmbeddingsRequest(BaseModel):
    """OpenAI's embeddings request; unknown fields are ignored, as their clients expect.

    https://platform.openai.com/docs/api-reference/embeddings/create
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": EMBEDDING_MODEL, "input": ["The mill wheel turns.", "It stands."]}]}
    )

    model: str = Field(default=EMBEDDING_MODEL, max_length=200)
    input: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)]],
        Field(min_length=1, max_length=MAX_INPUTS),
        BeforeValidator(_listed, json_schema_input_type=str | list[str]),
    ]
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: int | None = Field(default=None, ge=1)
    """May only say what the vectors have anyway: nothing is cut off."""
    input_type: Literal["document", "query"] | None = "document"
    """Side of the encoder, which OpenAI's request has no room for: what is searched, or what is searched for."""


class Embedding(BaseModel):
    """A vector of unit length: its components, or in base64 their little-endian float32 bytes."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Tokens that the encoder read; 0 where it does not count."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """OpenAI's list of embeddings, in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


@router.post(EMBEDDINGS_PATH, response_model=EmbeddingList, responses=problems(*ASKING))
async def embed(wanted: EmbeddingsRequest, caller: Caller, held: Held) -> Response:
    """Encode texts with the encoder of the live index: the vectors are those that documents are found by.

    A text longer than the encoder reads is cut, as documents' passages would be.
    """
    index = await held.live_index.get("")
    _check(wanted, index)
    reply = await _asked(held, caller.workspace, wanted, index)
    if reply is None:
        raise Problem(Code.ANSWER_FAILED, "the reply holds no vectors")
    embeddings, tokens = reply
    # A thousand vectors are some megabytes of digits.
    content = await asyncio.to_thread(_body, embeddings, tokens, base64=wanted.encoding_format == "base64")
    return Response(content, media_type="application/json")


def _check(wanted: EmbeddingsRequest, index: Index) -> None:
    if wanted.model not in (EMBEDDING_MODEL, index.model):
        raise Problem(Code.MODEL_NOT_FOUND, f"the encoder is called {EMBEDDING_MODEL!r} or {index.model!r}")
    if wanted.dimensions not in (None, index.dimension):
        raise invalid_field("/dimensions", f"the vectors have {index.dimension} components, and none is cut off")


async def _asked(
    held: Connections, workspace: str, wanted: EmbeddingsRequest, index: Index
) -> tuple[Embeddings, int] | None:
    """Put the texts on the log and wait for the vectors. Raises Problem, Transient("kafka")."""
    await held.replies.wait_ready(held.settings.publish_timeout_s)
    accepted_at = now()
    request = EmbeddingRequest(
        workspace=workspace,
        request_id=uuid4(),
        texts=tuple(wanted.input),
        model=index.model,
        use=wanted.input_type or "document",
        reply_to=held.replies.reply_to,
        accepted_at=accepted_at,
        deadline=accepted_at + held.settings.patience("chat"),
    )
    envelope = new_envelope(request, id=request.request_id, source=PRODUCER, trace=inject())
    with ExitStack() as stack:
        replies = stack.enter_context(held.replies.expect(request.request_id, workspace))
        await held.publisher.publish(EMBEDDING_REQUESTS, request, envelope)
        exchange = Exchange(workspace, request.request_id, None, accepted_at, request.deadline, replies)
        reply = await exchange.end()
    return None if reply.embeddings is None else (reply.embeddings, reply.usage.prompt_tokens)


def _body(embeddings: Embeddings, tokens: int, *, base64: bool) -> bytes:
    size = embeddings.dimension * _FLOAT_BYTES
    rows = [embeddings.vectors[at : at + size] for at in range(0, len(embeddings.vectors), size)]
    unpacked = struct.Struct(f"<{embeddings.dimension}f").unpack
    data: list[dict[str, Any]] = [
        {"object": "embedding", "index": at, "embedding": b64encode(row).decode() if base64 else unpacked(row)}
        for at, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return orjson.dumps({"object": "list", "data": data, "model": embeddings.model, "usage": usage})
