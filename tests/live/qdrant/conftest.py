"""What the behaviour suite runs against: the local door always, a real server where one is given or can be started."""

import os
from collections.abc import AsyncIterator
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
    """A docker command without an engine behind it is no Docker."""
    import docker
    from docker.errors import DockerException

    # not from_env: it asks for the version at once and leaks its socket when nobody answers
    engine = docker.DockerClient(base_url=os.environ.get("DOCKER_HOST"), version="1.41", timeout=2)
    try:
        return bool(engine.ping())
    except (DockerException, OSError):
        return False
    finally:
        engine.close()


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
        await running.kill()


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
