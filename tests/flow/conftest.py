"""The whole platform, and workspaces of a test's own on it."""

from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from infra.local.state import GATEWAY
from infra.postgres.keys import create_key
from infra.postgres.pool import open_pool
from infra.settings import PostgresSettings
from tests.conftest import Environment, Servers
from tests.flow.tenant import Tenant


@pytest.fixture(scope="session")
async def addresses(platform: Servers) -> Environment:
    """Variables by which clients reach the platform."""
    return await platform("postgres", "gateway")


async def new_tenant(addresses: Environment) -> Tenant:
    workspace = f"w-{uuid4().hex[:12]}"
    async with open_pool(PostgresSettings.model_validate({"POSTGRES_DSN": addresses["POSTGRES_DSN"]})) as pool:
        key = await create_key(pool, workspace, "test")
    headers = {"authorization": f"Bearer {key.key}"}
    return Tenant(workspace, httpx.AsyncClient(base_url=addresses[GATEWAY], headers=headers, timeout=30))


@pytest.fixture
async def tenant(addresses: Environment) -> AsyncIterator[Tenant]:
    made = await new_tenant(addresses)
    yield made
    await made.client.aclose()


@pytest.fixture
async def rival(addresses: Environment) -> AsyncIterator[Tenant]:
    made = await new_tenant(addresses)
    yield made
    await made.client.aclose()
