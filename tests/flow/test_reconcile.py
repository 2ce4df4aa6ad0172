"""What is deleted behind the sinks' backs is found, and comes back through the same gates; then nothing is left."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest
from qdrant_client import AsyncQdrantClient, models

from infra.cli.reconciling import report_of
from infra.neo4j.client import GraphDriver, open_driver
from infra.neo4j.schema import document_node_id
from infra.postgres.indexes import live
from infra.postgres.pool import open_pool
from infra.qdrant.client import open_client
from infra.qdrant.points import Key, Part, chunks_of, equals, head_id
from infra.settings import Neo4jSettings, PostgresSettings, QdrantSettings
from tests.conftest import Environment, Servers
from tests.eventually import eventually
from tests.flow.tenant import Tenant
from tests.graphs import digest


@pytest.fixture(scope="session")
async def everything(platform: Servers) -> Environment:
    return await platform("postgres", "gateway", "kafka", "neo4j", "door")


class Sinks:
    """The sinks themselves, with the power to take things away from them."""

    def __init__(self, pool: asyncpg.Pool, client: AsyncQdrantClient, graph: GraphDriver, collection: str) -> None:
        self.pool = pool
        self.client = client
        self.graph = graph
        self.collection = collection

    async def points(self, workspace: str, document: str) -> int:
        wanted = chunks_of(workspace, equals(Key.DOCUMENT, document))
        return (await self.client.count(self.collection, count_filter=wanted, exact=True)).count

    async def drop_points(self, *conditions: Any) -> None:
        selector = models.FilterSelector(filter=models.Filter(must=list(conditions)))
        await self.client.delete(self.collection, points_selector=selector, wait=True)

    async def drop_node(self, workspace: str, document: str) -> None:
        node = document_node_id(workspace, UUID(document))

        async def work(transaction: Any) -> None:
            await (await transaction.run("MATCH (d:Document {id: $id}) DETACH DELETE d", {"id": node})).consume()
            statement = "MATCH ()-[r:RELATED {document: $id}]->() DELETE r"
            await (await transaction.run(statement, {"id": node})).consume()

        await self.graph.write(work)

    async def reconcile(self, workspace: str, **options: bool) -> dict[str, Any]:
        return await report_of(workspace, None, **options)

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Run it as an operator does."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "infra.cli.main", "ledger", *arguments),
            env=os.environ | {"COLUMNS": "250"},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        return process.returncode or 0, out.decode()


@pytest.fixture
async def sinks(everything: Environment, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sinks]:
    for name, value in everything.items():
        monkeypatch.setenv(name, value)
    async with (
        open_pool(PostgresSettings.model_validate(everything)) as pool,
        open_client(QdrantSettings.model_validate(everything)) as client,
        open_driver(Neo4jSettings.model_validate(everything)) as graph,
    ):
        yield Sinks(pool, client, graph, (await live(pool)).collection)


def told(report: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(str(finding["document_id"]), finding["sink"], finding["problem"]) for finding in report["findings"]}


async def clean(sinks: Sinks, workspace: str) -> dict[str, Any] | None:
    report = await sinks.reconcile(workspace)
    return report if not report["findings"] and not report["waiting"] else None


async def test_what_sinks_have_lost_is_found_and_restored(tenant: Tenant, rival: Tenant, sinks: Sinks) -> None:
    names = ("whole", "points", "some", "head", "node", "row", "gone")
    texts = {name: f"# {name}\n\n" + f"The {name} millstone turns at dawn. " * 60 for name in names}
    documents = {name: await tenant.upload_and_settle(text, name, title=name) for name, text in texts.items()}
    theirs = await rival.upload_and_settle(texts["points"], "points", title="points")
    removed = await tenant.client.delete(f"/v1/documents/{documents['gone']}")
    await tenant.settled(removed.json()["event_id"])
    ours = tenant.workspace
    assert await eventually(lambda: clean(sinks, ours), within=30)
    before = {name: await sinks.points(ours, document) for name, document in documents.items()}
    assert before["points"] > 1
    graph = await digest(sinks.graph, ours)

    for name in ("points", "gone"):
        await sinks.drop_points(equals(Key.DOCUMENT, documents[name]))
    await sinks.drop_points(
        equals(Key.DOCUMENT, documents["some"]), equals(Key.PART, Part.CHUNK.value), equals(Key.ORDINAL, 1)
    )
    await sinks.drop_points(models.HasIdCondition(has_id=[head_id(ours, UUID(documents["head"]))]))
    await sinks.drop_node(ours, documents["node"])
    await sinks.drop_points(equals(Key.DOCUMENT, theirs))
    await sinks.pool.execute("delete from documents where document_id = $1", UUID(documents["row"]))

    dry = await sinks.reconcile(ours, dry_run=True)
    assert told(dry) == {
        (documents["points"], "vectors", "missing"),
        (documents["gone"], "vectors", "missing"),
        (documents["some"], "vectors", "incomplete"),
        (documents["head"], "vectors", "stale"),
        (documents["node"], "graph", "missing"),
        (documents["row"], "table", "missing"),
    }
    status, said = await sinks.command("reconcile", "-w", ours, "--dry-run")
    assert (status, "would be republished" in said, "6 differ" in said) == (1, True, True), said
    assert await sinks.points(ours, documents["points"]) == 0
    done = await sinks.reconcile(ours)
    assert told(done) == told(dry), done
    assert done["actions"] == {"republished": 5, "deletion republished": 1}
    assert await eventually(lambda: clean(sinks, ours), within=60, every=0.5)
    assert {name: await sinks.points(ours, document) for name, document in documents.items()} == before
    assert await digest(sinks.graph, ours) == graph
    assert documents["points"] in await tenant.found("points millstone")
    # The other workspace was neither looked at nor touched.
    assert await sinks.points(rival.workspace, theirs) == 0
    assert told(await sinks.reconcile(rival.workspace)) == {(theirs, "vectors", "missing")}
    assert await eventually(lambda: clean(sinks, rival.workspace), within=30, every=0.5)


async def test_what_nobody_knows_is_reported_and_deleted_only_on_demand(tenant: Tenant, sinks: Sinks) -> None:
    await tenant.upload_and_settle("A text that stays.", "stays")
    ours, stranger = tenant.workspace, str(uuid4())
    payload = {"part": "head", "workspace": ours, "document": stranger, "version": 5, "deleted": False}
    point = models.PointStruct(id=head_id(ours, UUID(stranger)), vector={}, payload=payload)
    await sinks.client.upsert(sinks.collection, points=[point], wait=True)
    report = await sinks.reconcile(ours)
    assert told(report) == {(stranger, "vectors", "extra")}
    assert report["actions"] == {"left": 1}
    report = await sinks.reconcile(ours, delete_extra=True)
    assert report["actions"] == {"deletion republished": 1}
    assert await eventually(lambda: clean(sinks, ours), within=60, every=0.5)
    (head,) = await sinks.client.retrieve(sinks.collection, ids=[head_id(ours, UUID(stranger))])
    assert (head.payload or {})["deleted"]


async def test_a_deleted_conversation_is_no_document_that_the_sinks_lack(tenant: Tenant, sinks: Sinks) -> None:
    await tenant.upload_and_settle("A text that stays.", "stays")
    said = await tenant.post("/v1/chat", {"message": "Name one river.", "retrieve": False})
    conversation = f"/v1/conversations/{said['conversation_id']}"

    async def kept() -> bool:
        return await tenant.status("GET", conversation) == 200

    async def confirmed() -> bool:
        told = (await tenant.get(f"{conversation}/receipts"))["receipts"]
        return {each["sink"] for each in told} == {"archivist", "answer_cache"}

    assert await eventually(kept, within=30)
    before = await tenant.get("/v1/sources")
    assert await tenant.status("DELETE", conversation) in {200, 202}
    assert await eventually(confirmed, within=30)
    report = await sinks.reconcile(tenant.workspace, dry_run=True)
    assert (report["compared"], report["findings"], report["waiting"]) == (1, [], 0)
    status, told = await sinks.command("reconcile", "-w", tenant.workspace)
    assert (status, told) == (0, "1 documents compared, 0 differ, 0 are on their way\n")
    assert await tenant.status("GET", f"/v1/documents/{said['conversation_id']}/receipts") == 404
    status, _ = await sinks.command("--document", said["conversation_id"])
    assert status == 1
    assert await tenant.get("/v1/sources") == before


async def test_the_ledger_accounts_for_every_event(tenant: Tenant, sinks: Sinks) -> None:
    sender = await tenant.source("generic")
    good = [await sender.accepted({"id": f"n{number}", "text": f"Note {number} on sluices."}) for number in range(3)]
    bad = await sender.generic(b"{no json")
    for event in (*good, bad.json()["event_id"]):
        await tenant.settled(event)
    status, said = await sinks.command(sender.source_id, "--json")
    told = orjson.loads(said)
    (account,) = told["sources"]
    numbers = [account[name] for name in ("fetched", "done", "not_a_document", "dead_lettered", "pending")]
    assert (status, numbers) == (0, [4, 3, 0, 1, 0])
    listed = (await tenant.get("/v1/dead-letters", source=sender.source_id))["dead_letters"]
    assert [letter["event_id"] for letter in listed] == [bad.json()["event_id"]]
    assert account["reasons"] == [{"reason": "invalid_json", "state": "open", "events": 1}]
    (lag,) = told["lag"]
    assert (lag["connector"], lag["documents"]) == ("generic", 3)
    assert 0 < lag["p50"] <= lag["p95"] <= lag["p99"] < 60
    document = (await tenant.event(good[0]))["documents"][0]["document_id"]
    removed = await tenant.client.delete(f"/v1/documents/{document}")
    await tenant.settled(removed.json()["event_id"])

    async def confirmed() -> bool:
        proof = (await tenant.get(f"/v1/documents/{document}/receipts"))["deletion"]
        return bool(proof and proof["complete"])

    assert await eventually(confirmed, within=20)
    status, said = await sinks.command("--document", document)
    assert (status, "complete" in said, "graph_builder" in said) == (0, True, True)
