from collections.abc import AsyncIterator

import pytest

from tests.databases import fresh_database
from workers.ledger.store import Pool


@pytest.fixture(scope="session")
async def pool(postgres: dict[str, str]) -> AsyncIterator[Pool]:
    async with fresh_database(postgres) as pool:
        yield pool
