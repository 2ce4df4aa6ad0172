"""Routing and earlier answers with a model server on a socket, a routing file, and answers kept in a real Valkey."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from infra.models.packed import pack
from infra.redis.client import open_redis
from infra.redis.kept_answers import KeptAnswers
from schemas.chat import ChatPrompt, Intent, Passage
from schemas.receipts import Receipt
from tests.chats import passage, prompt
from tests.deliveries import delivery
from tests.events import document, receipt
from tests.eventually import eventually
from tests.live.workers.inference.conftest import ModelServer
from tests.valkey import Valkey
from workers.forgetter.worker import forget
from workers.inference.answer import Answerer
from workers.inference.tools import open_answerer

QUESTION = "How often are keys rotated?"
HELD = document("Keys are rotated weekly.", workspace="acme", version=1)
GONE = document("", workspace="acme", version=2)
SOURCE = passage(document_id=HELD.document_id, cosines=[0.9])
DOWN = "away"


@pytest.fixture
async def store(own_valkey: Valkey) -> AsyncIterator[KeptAnswers]:
    async with open_redis(own_valkey.settings()) as client:
        yield KeptAnswers(client)


@pytest.fixture
async def answerer(
    model_server: ModelServer, own_valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Answerer]:
    """An answerer as a process opens it, with a routing file that names the server twice."""
    file = tmp_path / "routing.yaml"
    file.write_text(f"backends: {{coder: {{url: '{model_server.url}', model: c1}}}}\nroutes: {{code: coder}}\n")
    monkeypatch.setenv("INFERENCE_URL", model_server.url)
    monkeypatch.setenv("INFERENCE_MODEL", "tiny")
    monkeypatch.setenv("INFERENCE_ATTEMPTS", "1")
    monkeypatch.setenv("INFERENCE_ROUTING", str(file))
    monkeypatch.setenv("INFERENCE_ROUTING_EVERY_S", "0.05")
    async with open_redis(own_valkey.settings()) as redis, open_answerer(redis=redis) as opened:
        yield opened


def asked(workspace: str = "acme", sources: Sequence[Passage] = (SOURCE,), intent: Intent | None = None) -> ChatPrompt:
    found = prompt(QUESTION, sources, {"key": 1.0, "rotat": 1.0}, workspace=workspace, intent=intent)
    vector = np.eye(384, dtype=np.float32)[0]
    return found.model_copy(update={"workspace": workspace, "question_vector": pack(vector), "encoder": "e"})


async def served(answerer: Answerer, found: ChatPrompt) -> str:
    return (await answerer.outcome(found)).served_by


async def test_the_file_routes_and_is_read_again(answerer: Answerer, model_server: ModelServer, tmp_path: Path) -> None:
    model_server.moods = ["well"]
    outcome = await answerer.outcome(asked(intent="code"))
    assert (outcome.served_by, outcome.model, outcome.intent) == ("coder", "c1", "code")
    assert (await answerer.outcome(asked(intent="creative"))).served_by == "openai"
    (tmp_path / "routing.yaml").write_text("routes: {creative: extractive}\n")
    await eventually(lambda: "coder" not in [member.name for member in answerer.fleet.members])
    assert await served(answerer, asked(intent="code")) == "openai"
    assert await served(answerer, asked(intent="creative")) == "extractive"


async def test_what_was_answered_stands_in_until_its_document_is_deleted(
    answerer: Answerer, model_server: ModelServer, store: KeptAnswers
) -> None:
    model_server.moods = ["well", DOWN]
    assert await served(answerer, asked()) == "openai"
    await eventually(lambda: _held(store))
    outcome = await answerer.outcome(asked())
    assert (outcome.served_by, outcome.model, outcome.degraded) == ("cache", "tiny", True)
    assert await served(answerer, asked(workspace="other")) == "extractive"
    (said,) = await forget([delivery(receipt(GONE, "ledger"))], store)
    assert isinstance(said.body, Receipt)
    assert (said.body.sink, said.body.document_id) == ("answer_cache", HELD.document_id)
    assert await store.entries("acme") == []
    assert await served(answerer, asked()) == "extractive"


async def test_an_answer_under_way_at_the_deletion_is_not_kept(
    answerer: Answerer, model_server: ModelServer, store: KeptAnswers
) -> None:
    model_server.moods = ["well"]
    await forget([delivery(receipt(GONE, "embedder/main"))], store)
    assert await served(answerer, asked()) == "openai"
    earlier = answerer._earlier
    assert earlier is not None
    await earlier.settle()
    assert await store.entries("acme") == []


async def test_a_deleted_conversation_takes_its_answers_along(
    answerer: Answerer, model_server: ModelServer, store: KeptAnswers
) -> None:
    model_server.moods = ["well"]
    question = asked()
    assert await served(answerer, question) == "openai"
    await eventually(lambda: _held(store))
    deleted = receipt(GONE, "archivist", source="conversations", document_id=question.request.conversation_id)
    (said,) = await forget([delivery(deleted)], store)
    assert isinstance(said.body, Receipt)
    assert (said.body.sink, said.body.source) == ("answer_cache", "conversations")
    assert await store.entries("acme") == []

    # Nor is one kept that was under way then.
    assert await served(answerer, question) == "openai"
    assert answerer._earlier is not None
    await answerer._earlier.settle()
    assert await store.entries("acme") == []


async def _held(store: KeptAnswers) -> bool:
    return bool(await store.entries("acme"))
