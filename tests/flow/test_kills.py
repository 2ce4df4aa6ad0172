"""kill -9 of our own processes: what was accepted is searchable, once."""

import os
import signal
from collections.abc import AsyncIterator

import pytest
from qdrant_client import AsyncQdrantClient
from qdrant_client.models import FieldCondition, Filter, MatchValue

from infra.local.record import StackRecord
from infra.local.table import OWN
from infra.qdrant.client import open_client
from infra.settings import QdrantSettings
from tests.conftest import Environment, Servers
from tests.eventually import eventually
from tests.flow.tenant import Tenant, all_settled


@pytest.fixture
async def qdrant(addresses: Environment) -> AsyncIterator[AsyncQdrantClient]:
    given = {name: addresses[name] for name in ("QDRANT_URL", "QDRANT_API_KEY")}
    async with open_client(QdrantSettings.model_validate(given)) as client:
        yield client


def kill(platform: Servers, *names: str) -> None:
    record = StackRecord.read(platform.home.record)
    assert record is not None
    for name in names:
        pid = record.processes[name].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)


async def chunk_points(qdrant: AsyncQdrantClient, workspace: str, document: str) -> int:
    """Count the chunk points of a document in every collection."""
    wanted = {"workspace": workspace, "document": document, "part": "chunk"}
    conditions = [FieldCondition(key=key, match=MatchValue(value=value)) for key, value in wanted.items()]
    total = 0
    for collection in (await qdrant.get_collections()).collections:
        total += (await qdrant.count(collection.name, count_filter=Filter(must=list(conditions)), exact=True)).count
    return total


async def test_after_a_2xx_kills_of_gateway_and_workers_lose_and_double_nothing(
    platform: Servers, tenant: Tenant, qdrant: AsyncQdrantClient
) -> None:
    sender = await tenant.source("generic")
    accepted = [
        await sender.accepted({"id": f"k{number}", "text": f"Kiln number {number} burns at {900 + number} degrees."})
        for number in range(20)
    ]
    kill(platform, *OWN)
    more = [
        await sender.accepted({"id": f"m{number}", "text": f"Mould number {number} holds {number + 3} bricks."})
        for number in range(5)
    ]
    kill(platform, "stream", "models")
    events = await all_settled(tenant, [*accepted, *more])
    assert {event["state"] for event in events} == {"complete"}
    documents = [event["documents"][0]["document_id"] for event in events]
    assert len(set(documents)) == 25
    for document in documents:
        assert await chunk_points(qdrant, tenant.workspace, document) == 1

    async def answered() -> bool:
        return await tenant.found("How hot does kiln number 7 burn?") >= {documents[7]}

    await eventually(answered, within=60)
    counts = await tenant.completeness(sender.source_id)
    assert (counts["fetched"], counts["embedded"], counts["graphed"], counts["pending"]) == (25, 25, 25, 0)
