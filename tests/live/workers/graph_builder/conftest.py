from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from infra.neo4j.client import GraphDriver, open_driver
from infra.neo4j.schema import ensure
from infra.settings import Neo4jSettings
from workers.graph_builder.gazetteers import Gazetteers
from workers.graph_builder.settings import GraphBuilderSettings
from workers.graph_builder.worker import Tools


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


@pytest.fixture
def tools(graph: GraphDriver) -> Tools:
    """Tools whose names are read again for every batch."""
    settings = GraphBuilderSettings.model_validate({"GRAPH_GAZETTEER_REFRESH_S": 1e-6})
    return Tools(graph, Gazetteers(graph, settings, load_share=0))
