from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from tests.databases import fresh_database
from workers.archivist.idle import Tools
from workers.archivist.settings import ArchivistSettings
from workers.archivist.store import Pool


@pytest.fixture(scope="session")
async def pool(postgres: dict[str, str]) -> AsyncIterator[Pool]:
    async with fresh_database(postgres) as pool:
        yield pool


@pytest.fixture(scope="session")
def tools(pool: Pool) -> Tools:
    return Tools(pool, ArchivistSettings())


@pytest.fixture
def workspace() -> str:
    return f"w{uuid4().hex}"
