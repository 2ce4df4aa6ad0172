"""A pool on a database of these tests' own, and a workspace that no other test knows."""

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest
from cryptography.fernet import Fernet

from infra.postgres.keys import ensure_workspace
from infra.postgres.migrate import upgrade
from infra.postgres.pool import open_pool
from infra.postgres.sources import SecretBox
from infra.settings import PostgresSettings
from tests.live.postgres.databases import database_of_its_own

Pool = asyncpg.Pool


@pytest.fixture(scope="session")
async def pool(postgres: dict[str, str]) -> AsyncIterator[Pool]:
    async with database_of_its_own(postgres["POSTGRES_DSN"]) as dsn:
        await upgrade(dsn)
        async with open_pool(PostgresSettings(dsn=dsn, pool_size=4)) as opened:
            yield opened


@pytest.fixture
async def workspace(pool: Pool) -> str:
    name = f"ws-{uuid4().hex[:12]}"
    await ensure_workspace(pool, name)
    return name


@pytest.fixture
def box() -> SecretBox:
    return SecretBox(Fernet.generate_key().decode())
