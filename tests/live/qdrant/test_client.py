"""What the client's failures mean to a worker."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from qdrant_client import AsyncQdrantClient

from infra.errors import Permanent, Transient
from infra.qdrant.client import open_client, ready, translating
from infra.settings import QdrantSettings
from schemas.dead_letters import Reason
from tests.live.qdrant.doors import Door, free_port


async def test_a_server_that_is_not_there_is_transient() -> None:
    nowhere = QdrantSettings(url=f"http://127.0.0.1:{free_port()}", timeout_s=2)
    async with open_client(nowhere) as client:
        with pytest.raises(Transient) as waits:
            await ready(client)
    assert waits.value.dependency == "qdrant"


async def test_a_server_that_dies_and_returns_is_transient_then_fine(tmp_path: Path) -> None:
    door = Door(tmp_path / "root")
    await door.start()
    async with open_client(door.settings) as client:
        await ready(client)
        await door.kill()
        with pytest.raises(Transient):
            await ready(client)
        await door.start()
        await ready(client)
    await door.kill()


async def test_a_refused_key_pauses_and_buries_nothing(tmp_path: Path) -> None:
    door = Door(tmp_path / "root")
    await door.start()
    wrong = door.settings.model_copy(update={"api_key": SecretStr("wrong")})
    async with open_client(wrong) as client:
        with pytest.raises(Transient, match="status 401"):
            await ready(client)
    await door.kill()


async def test_a_refused_request_is_permanent(client: AsyncQdrantClient, collection: str) -> None:
    with pytest.raises(Permanent) as wrong_vector, translating():
        await client.query_points(collection, query=[1.0], using="dense")
    assert wrong_vector.value.reason is Reason.INVALID_VECTOR
    with pytest.raises(Permanent) as refused, translating():
        await client.scroll(collection, order_by="no.index")
    assert refused.value.reason is Reason.REFUSED_BY_SINK
