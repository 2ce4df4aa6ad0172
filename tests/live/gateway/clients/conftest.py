"""A running stack for the clients of others: the real retriever, inference and archivist behind the gateway, a vector
index with a document, and a vendor's server that repeats what it is asked.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from infra.models.hashed import HashEncoder
from infra.postgres.indexes import Index, register
from infra.postgres.keys import create_key
from infra.postgres.migrate import upgrade
from infra.postgres.pool import open_pool
from infra.qdrant.client import open_client
from infra.qdrant.collections import ensure_collection
from infra.settings import PostgresSettings, QdrantSettings
from tests.events import document
from tests.eventually import eventually
from tests.live.gateway.clients.passing import passing
from tests.live.gateway.clients.vendor import Vendor
from tests.live.gateway.conftest import Environment, Gateway, running
from tests.live.postgres.databases import database_of_its_own
from tests.live.workers.retriever.library import Library
from tests.unit.gateway.serving import serving
from workers.retriever.embed import QuestionEmbedder

WORKSPACE = f"clients-{uuid4().hex[:8]}"
KEYS = "Secrets live in the vault. The signing keys are rotated every ninety days. Ask the platform team for access."
QUESTION = "How often are the signing keys rotated?"
TOLD = f"You asked: {QUESTION} [1] 👋"
MESSAGES: Any = [{"role": "user", "content": QUESTION}]


@pytest.fixture(scope="package")
async def vendor() -> Vendor:
    return Vendor()


@pytest.fixture(scope="package")
async def vendors_url(vendor: Vendor) -> AsyncIterator[str]:
    async with serving(vendor.app()) as url:  # type: ignore[arg-type]
        yield url


@pytest.fixture(scope="package")
async def surroundings(surroundings: Environment, postgres: Environment) -> AsyncIterator[Environment]:
    """With a database of this folder's own: its first index is the live one."""
    async with database_of_its_own(postgres["POSTGRES_DSN"]) as dsn:
        await upgrade(dsn)
        yield surroundings | {"POSTGRES_DSN": dsn}


@pytest.fixture(scope="package")
async def pool(surroundings: Environment) -> AsyncIterator[asyncpg.Pool]:
    async with open_pool(PostgresSettings(dsn=surroundings["POSTGRES_DSN"], pool_size=4)) as opened:
        yield opened


@pytest.fixture(scope="package")
async def indexed(pool: asyncpg.Pool, door: Environment) -> None:
    """A live index that holds one document of the workspace."""
    settings = QdrantSettings(url=door["QDRANT_URL"], api_key=SecretStr(door["QDRANT_API_KEY"]), timeout_s=30)
    collection = f"clients-{uuid4().hex[:8]}"
    async with open_client(settings) as client:
        await ensure_collection(client, collection, 64)
        library = Library(client, collection, HashEncoder(), QuestionEmbedder())
        await library.add(document(KEYS, workspace=WORKSPACE, external_id="keys", title="Keys"))
    registered = await register(pool, Index(collection, collection, "hash-64", 64))
    assert registered.state == "live"


@pytest.fixture(scope="package")
async def stack(
    surroundings: Environment,
    door: Environment,
    indexed: None,
    vendors_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Gateway]:
    """The gateway, with the workers that answer it in one process."""
    folder = tmp_path_factory.mktemp("clients")
    told = surroundings | {name: door[name] for name in ("QDRANT_URL", "QDRANT_API_KEY")}
    told |= {"MILLRACE_ENCODER": "hash", "INFERENCE_URL": vendors_url, "MILLRACE_INSTANCE": "clients"}
    told |= {"INFERENCE_CHUNK_TIMEOUT_S": "60", "INFERENCE_FIRST_TIMEOUT_S": "60"}
    output = folder / "workers.log"
    with output.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "workers.host", "retriever", "inference", "archivist"),
            env=os.environ | told,
            stdout=log,
            stderr=log,
        )
    try:
        async with running(told, folder) as gateway:
            yield gateway
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 60)
        assert process.returncode == 0, output.read_text()[-4_000:]


@pytest.fixture(scope="package")
async def key(pool: asyncpg.Pool) -> str:
    return (await create_key(pool, WORKSPACE, "test")).key


@pytest.fixture(scope="package")
async def answering(stack: Gateway, key: str) -> str:
    """The address of the gateway once it gives answers."""
    async with stack.client(key) as client:

        async def answers() -> bool:
            body = {"model": "millrace", "messages": MESSAGES}
            return (await client.post("/v1/chat/completions", json=body, timeout=90)).status_code == 200

        await eventually(answers, within=180)
    return stack.url


@pytest.fixture
async def checked(answering: str) -> AsyncIterator[str]:
    """The address for clients that do not receive their answers in this process."""
    async with passing(answering) as address:
        yield address
