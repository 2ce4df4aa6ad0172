from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis

from infra.redis.client import open_redis
from tests.valkey import Valkey


@pytest_asyncio.fixture
async def client(own_valkey: Valkey) -> AsyncIterator[Redis]:
    async with open_redis(own_valkey.settings()) as opened:
        yield opened
