import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import cast
from uuid import UUID

import numpy as np
import pytest

from infra.errors import Permanent, Transient
from infra.models.encoder import Encoder, FloatArray, Use
from infra.models.hashed import HashEncoder
from infra.postgres.indexes import Index
from infra.queueing.cancels import Cancels
from infra.queueing.slots import Slots
from schemas.chat import ChatReply, ReplyTo
from schemas.chat_cancel import ChatCancel
from schemas.dead_letters import Reason
from schemas.embedding import EmbeddingRequest
from schemas.event import now
from tests.deliveries import delivery
from tests.eventually import eventually
from topics.catalogue import CHAT_REPLIES
from workers.retriever.prompt import Budget
from workers.retriever.retrieve import Retriever
from workers.retriever.tools import SEARCHES, SLICES, Tools
from workers.retriever.vectors import SLICE, Vectoriser
from workers.retriever.worker import encode

LIVE = Index("hash-1", "chunks_hash-1", "hash-64", 64, "live")


class Sided(HashEncoder):
    """Encodes questions the other way round, and remembers how many texts came at once."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[tuple[Use, int]] = []

    async def _vectors(self, texts: list[str], use: Use) -> FloatArray:  # type: ignore[override]
        self.batches.append((use, len(texts)))
        vectors = await super()._vectors(texts, use)
        return vectors if use == "document" else -vectors


def asked(*texts: str, within: float = 60, **fields: object) -> EmbeddingRequest:
    values: dict[str, object] = {
        "workspace": "acme",
        "request_id": UUID(int=7),
        "texts": texts,
        "reply_to": ReplyTo(partition=3, gateway="gateway-1"),
        "accepted_at": now(),
        "deadline": now() + timedelta(seconds=within),
    }
    return EmbeddingRequest.model_validate({**values, **fields})


async def replied(
    request: EmbeddingRequest,
    encoder: Encoder | None = None,
    turns: Slots | None = None,
    cancels: Cancels | None = None,
) -> ChatReply:
    async def live() -> Index:
        return LIVE

    vectoriser = Vectoriser(live, lambda index: encoder or HashEncoder(), turns or Slots(2, SLICES))
    searches = Slots(2, SEARCHES)
    tools = Tools(cast(Retriever, None), Budget(), vectoriser, searches, Cancels(60) if cancels is None else cancels)
    (published,) = await encode(delivery(request), tools)
    assert (published.topic, published.partition) == (CHAT_REPLIES, 3)
    body = published.body
    assert isinstance(body, ChatReply)
    assert (body.request_id, body.gateway, body.sequence) == (request.request_id, "gateway-1", 0)
    return body


def rows(reply: ChatReply) -> FloatArray:
    assert reply.embeddings is not None
    return np.frombuffer(reply.embeddings.vectors, "<f4").reshape(-1, reply.embeddings.dimension)


async def test_texts_become_the_vectors_that_documents_have_in_their_order() -> None:
    texts = [f"mill number {number}" for number in range(SLICE + 3)]
    encoder = Sided()
    reply = await replied(asked(*texts, model="hash-64"), encoder)
    assert np.array_equal(rows(reply), await HashEncoder().encode_documents(texts))
    assert encoder.batches == [("document", SLICE), ("document", 3)]
    assert (reply.kind, reply.model, reply.usage.prompt_tokens) == ("final", "hash-64", 3 * len(texts))
    assert ChatReply.model_validate_json(reply.model_dump_json()) == reply


async def test_the_side_of_questions_can_be_asked_for() -> None:
    encoder = Sided()
    reply = await replied(asked("mill", "wheel", use="query"), encoder)
    assert encoder.batches == [("query", 2)]
    assert np.array_equal(rows(reply), -(await HashEncoder().encode_documents(["mill", "wheel"])))


async def test_an_index_that_was_switched_meanwhile_is_no_substitute() -> None:
    reply = await replied(asked("mill", model="all-MiniLM-L6-v2"))
    assert (reply.kind, reply.error and reply.error.code) == ("error", "unknown_model")


async def test_an_expired_request_is_answered_and_not_encoded() -> None:
    encoder = Sided()
    reply = await replied(asked("mill", within=-1), encoder)
    assert (reply.error and reply.error.code, encoder.batches) == ("deadline_passed", [])


class Failing(HashEncoder):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def _vectors(self, texts: object, use: Use) -> FloatArray:
        raise self.error


async def test_a_text_that_the_encoder_refuses_is_told() -> None:
    reply = await replied(asked("mill"), Failing(Permanent(Reason.REFUSED_BY_SINK, "the text was: secret")))
    assert reply.error is not None
    assert (reply.error.code, "secret" in reply.error.detail) == ("text_refused", False)


async def test_an_encoder_that_is_away_is_waited_for() -> None:
    with pytest.raises(Transient):
        await replied(asked("mill"), Failing(Transient("encoder", "away")))


class Held(HashEncoder):
    """Encodes when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []
        self.release = asyncio.Event()

    async def _vectors(self, texts: Sequence[str], use: Use) -> FloatArray:
        self.begun.append(texts[0].split()[0])
        await self.release.wait()
        return await super()._vectors(texts, use)


async def test_many_texts_of_one_workspace_delay_another_by_one_slice() -> None:
    encoder, turns = Held(), Slots(1, SLICES)
    many = asked(*[f"acme {number}" for number in range(3 * SLICE)])
    busy = asyncio.create_task(replied(many, encoder, turns))
    await eventually(lambda: encoder.begun)
    single = asyncio.create_task(replied(asked("globex", workspace="globex"), encoder, turns))
    await eventually(lambda: turns.depth == 1)
    encoder.release.set()
    await asyncio.gather(busy, single)
    assert encoder.begun == ["acme", "globex", "acme", "acme"]


async def test_texts_whose_deadline_passes_in_the_queue_are_answered_then() -> None:
    encoder, turns = Held(), Slots(1, SLICES)
    busy = asyncio.create_task(replied(asked("acme"), encoder, turns))
    await eventually(lambda: encoder.begun)
    reply = await replied(asked("late", within=0.05), encoder, turns)
    assert (reply.error and reply.error.code, encoder.begun) == ("deadline_passed", ["acme"])
    encoder.release.set()
    await busy


async def test_a_cancel_ends_the_encoding_of_what_is_left() -> None:
    encoder, turns, cancels = Held(), Slots(1, SLICES), Cancels(60)
    many = asked(*[f"acme {number}" for number in range(3 * SLICE)])
    busy = asyncio.create_task(replied(many, encoder, turns, cancels))
    await eventually(lambda: encoder.begun)
    cancels.hear(ChatCancel(workspace=many.workspace, request_id=many.request_id))
    reply = await asyncio.wait_for(busy, 60)
    assert (reply.error and reply.error.code, encoder.begun) == ("cancelled", ["acme"])
    encoder.release.set()
    assert (await replied(asked("next", request_id=UUID(int=8)), encoder, turns, cancels)).error is None
