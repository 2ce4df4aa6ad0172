from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.valkey import Valkey


@pytest_asyncio.fixture
async def own_valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    """A server that this test alone has."""
    server = Valkey(tmp_path)
    await server.start()
    yield server
    await server.stop()
