from collections.abc import AsyncIterator
from uuid import uuid4

import pytest_asyncio
from pydantic import SecretStr
from qdrant_client import AsyncQdrantClient

from infra.local.artifacts import model_folder
from infra.local.fetch import fetch_model
from infra.models.encoder import Encoder
from infra.models.openvino import OpenVinoEncoder
from infra.qdrant.client import open_client
from infra.qdrant.collections import ensure_collection
from infra.settings import QdrantSettings
from tests.live.workers.retriever.library import Library
from workers.retriever.embed import QuestionEmbedder

MODEL = "all-MiniLM-L6-v2"


@pytest_asyncio.fixture(scope="session")
async def client(door: dict[str, str]) -> AsyncIterator[AsyncQdrantClient]:
    settings = QdrantSettings(url=door["QDRANT_URL"], api_key=SecretStr(door["QDRANT_API_KEY"]), timeout_s=20)
    async with open_client(settings) as opened:
        yield opened


@pytest_asyncio.fixture(scope="session")
async def encoder() -> AsyncIterator[Encoder]:
    await fetch_model(MODEL)
    opened = OpenVinoEncoder.open(model_folder(MODEL), MODEL)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def library(client: AsyncQdrantClient, encoder: Encoder) -> AsyncIterator[Library]:
    collection = f"library-{uuid4().hex[:12]}"
    await ensure_collection(client, collection, encoder.dimension)
    yield Library(client, collection, encoder, QuestionEmbedder())
    await client.delete_collection(collection)
