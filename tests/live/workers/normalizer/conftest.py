from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.databases import fresh_database
from workers.normalizer.read import Tools
from workers.normalizer.sandbox import Sandbox
from workers.normalizer.settings import NormalizerSettings


@pytest.fixture(scope="session")
async def pool(postgres: dict[str, str]) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    async with fresh_database(postgres) as pool:
        yield pool


@pytest.fixture(scope="session")
async def tools(pool: "asyncpg.Pool[asyncpg.Record]") -> AsyncIterator[Tools]:
    settings = NormalizerSettings.model_validate({"MILLRACE_PARSE_SECONDS": 5})
    sandbox = Sandbox(settings)
    yield Tools(pool, sandbox, settings)
    await sandbox.close()
