from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from qdrant_client import AsyncQdrantClient

from infra.local.fetch import fetch_model
from infra.models.hashed import HashEncoder
from infra.models.opening import MINILM
from infra.qdrant.client import open_client
from infra.qdrant.collections import ensure_collection
from infra.settings import QdrantSettings
from workers.embedder.store import IndexWriter
from workers.embedder.turns import Turns
from workers.embedder.worker import Tools


@pytest.fixture(scope="session")
async def client(door: dict[str, str]) -> AsyncIterator[AsyncQdrantClient]:
    settings = QdrantSettings.model_validate(
        {"QDRANT_URL": door["QDRANT_URL"], "QDRANT_API_KEY": door.get("QDRANT_API_KEY")}
    )
    async with open_client(settings) as opened:
        yield opened


@pytest.fixture
async def collection(client: AsyncQdrantClient) -> AsyncIterator[str]:
    """An empty index of hashed vectors."""
    name = f"embedder-{uuid4().hex[:12]}"
    await ensure_collection(client, name, HashEncoder().dimension)
    yield name
    await client.delete_collection(name)


@pytest.fixture
async def tools(client: AsyncQdrantClient, collection: str) -> Tools:
    return Tools("main", Turns(HashEncoder()), IndexWriter(client, collection))


@pytest.fixture(scope="session")
async def weights() -> None:
    """The default model's weights in the cache."""
    await fetch_model(MINILM)
