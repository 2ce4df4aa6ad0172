from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from infra.neo4j.client import GraphDriver, open_driver
from infra.neo4j.schema import ensure
from infra.settings import Neo4jSettings


@pytest.fixture(scope="session")
def settings(neo4j: dict[str, str]) -> Neo4jSettings:
    return Neo4jSettings.model_validate(neo4j)


@pytest.fixture(scope="session")
async def graph(settings: Neo4jSettings) -> AsyncIterator[GraphDriver]:
    async with open_driver(settings) as driver:
        await ensure(driver)
        yield driver


@pytest.fixture
def workspace() -> str:
    """A workspace of this test's own: nothing else in the server is in it."""
    return f"w{uuid4().hex}"
