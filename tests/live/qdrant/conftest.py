"""What the behaviour suite runs against: the local door always, a real server where one is given or can be started."""

import os
import signal
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import pytest_asyncio
from pydantic import SecretStr
from qdrant_client import AsyncQdrantClient, models

from infra.qdrant.client import open_client
from infra.settings import QdrantSettings
from tests.live.qdrant.doors import Door

SERVER_IMAGE = "qdrant/qdrant:v1.16.3"


def _has_docker_engine() -> bool:
    """A docker command without an engine behind it is no Docker, so the engine itself is asked."""
    where = urlsplit(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
    family = socket.AF_UNIX if where.scheme == "unix" else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(2)
        try:
            probe.connect(where.path if where.scheme == "unix" else (where.hostname, where.port))
            probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b"200 OK" in probe.recv(64)
        except OSError:
            return False


def _targets() -> list[str]:
    if "QDRANT_TEST_URL" in os.environ:
        return ["door", "server"]
    return ["door", "container"] if _has_docker_engine() else ["door"]


@pytest_asyncio.fixture(scope="session", params=_targets())
async def qdrant(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[QdrantSettings]:
    """Settings of one Qdrant to test."""
    if request.param == "server":
        key = os.environ.get("QDRANT_TEST_API_KEY")
        yield QdrantSettings(url=os.environ["QDRANT_TEST_URL"], api_key=SecretStr(key) if key else None)
    elif request.param == "container":
        from testcontainers.qdrant import QdrantContainer

        with QdrantContainer(SERVER_IMAGE) as container:
            yield QdrantSettings(url=f"http://{container.rest_host_address}")
    else:
        running = Door(tmp_path_factory.mktemp("door") / "root")
        await running.start()
        yield running.settings
        await running.kill(signal.SIGTERM)


@pytest_asyncio.fixture(scope="session")
async def client(qdrant: QdrantSettings) -> AsyncIterator[AsyncQdrantClient]:
    async with open_client(qdrant) as opened:
        yield opened


@pytest_asyncio.fixture
async def fresh(client: AsyncQdrantClient) -> AsyncIterator[str]:
    """Name of a collection that does not exist yet and is removed afterwards, with its aliases."""
    name = f"t-{uuid4().hex[:12]}"
    yield name
    await client.delete_collection(name)


@pytest_asyncio.fixture
async def collection(client: AsyncQdrantClient, fresh: str) -> str:
    """An empty collection with the vectors of an index, four numbers wide."""
    await client.create_collection(
        fresh,
        vectors_config={"dense": models.VectorParams(size=4, distance=models.Distance.COSINE)},
        sparse_vectors_config={"sparse": models.SparseVectorParams(modifier=models.Modifier.IDF)},
    )
    return fresh
