"""The door under faults: caches lost, killed with requests in flight, other workspaces, forged addresses, secrets."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import httpx
import pytest

from infra.kafka.codec import new_envelope
from schemas.chat import ChatMessage, ChatRequest, ReplyTo
from schemas.event import now
from tests.eventually import eventually
from tests.faults.arena import Arena
from tests.faults.conftest import WORKERS, Kept
from tests.faults.invariants import R, T, once
from tests.faults.proxy import Way
from tests.faults.running import Running, ending, gateway, hosting
from tests.flow.tenant import Tenant
from tests.live.telemetry.otlp_receiver import Receiver
from topics.catalogue import CHAT_REPLIES, CHAT_REQUESTS, DEAD_LETTERS, DOCUMENTS, INTERACTIONS, RAW_EVENTS, Topic


async def tenant_of(arena: Arena, door: Running, workspace: str) -> Tenant:
    headers = {"authorization": f"Bearer {await arena.key(workspace)}"}
    return Tenant(workspace, httpx.AsyncClient(base_url=door.url, headers=headers, timeout=30))


@pytest.mark.fault(31, 34)
@pytest.mark.slow
async def test_answers_are_the_same_without_the_cache_and_without_the_graph(
    arena: Arena, mill: Running, door: Running, workspace: str
) -> None:
    tenant = await tenant_of(arena, door, workspace)
    async with tenant.client:
        await tenant.upload_and_settle("The kiln in Brickwick burns at 940 degrees.", "kiln")
        question = "How hot does the kiln in Brickwick burn?"
        before = await tenant.passages(question)
        assert before
        arena.signal("valkey")
        assert await tenant.passages(question) == before
        await arena.proxies["valkey"].refuse()
        assert await tenant.passages(question) == before
        await arena.proxies["neo4j"].refuse()
        assert await tenant.passages(question) == before
        await arena.heal()
        assert await tenant.passages(question) == before


@pytest.mark.fault(19, 37)
@pytest.mark.slow
async def test_a_gateway_killed_with_requests_in_flight_doubles_and_loses_nothing(
    arena: Arena, mill: Running, workspace: str
) -> None:
    names = [f"doc-{number}" for number in range(30)]
    first = gateway(arena.environment, arena.folder)
    async with ending(first):
        await first.ready()
        tenant = await tenant_of(arena, first, workspace)
        source = await tenant.source("generic")
        assert (await source.generic({"id": names[0], "text": f"Text {names[0]}."}, names[0])).status_code == 202
        # The log takes them, and its acknowledgements are under way when the process dies.
        arena.cluster.brokers[0].proxy.delay_s = {Way.TO_CLIENT: 1}
        before = sum((await arena.sinks.ends(RAW_EVENTS)).values())
        sending = [asyncio.create_task(source.generic({"id": name, "text": f"Text {name}."}, name)) for name in names]
        await eventually(lambda: grown(arena, RAW_EVENTS, before), within=20)
        await first.kill()
        answers = await asyncio.gather(*sending, return_exceptions=True)
        await tenant.client.aclose()
        await arena.heal()
    assert any(isinstance(answer, httpx.TransportError) for answer in answers)
    second = gateway(arena.environment, arena.folder)
    async with ending(second):
        await second.ready()
        source.tenant = await tenant_of(arena, second, workspace)
        async with source.tenant.client:
            # A sender does what senders do: whatever it did not hear of, and here all, is sent again.
            ids = [await source.accepted({"id": name, "text": f"Text {name}."}, name) for name in names]
            assert len(set(ids)) == len(names)
            async with R(40) as recovery:
                await recovery.until(lambda: documents_of(arena, workspace, len(names)))
            bodies = await arena.sinks.bodies(DOCUMENTS, workspace)
            assert sorted(body.external_id for body in bodies) == sorted(names)


async def grown(arena: Arena, topic: Topic, before: int) -> bool:
    return sum((await arena.sinks.ends(topic)).values()) > before


@pytest.mark.fault(37)
@pytest.mark.slow
async def test_a_question_whose_gateway_is_killed_is_answered_once_into_its_conversation(
    arena: Arena, mill: Running, workspace: str
) -> None:
    conversation = uuid4()
    question = "How hot does the kiln in Brickwick burn?"
    first, second = (gateway(arena.environment, arena.folder) for _ in range(2))
    async with ending(first, second), hosting(arena.environment, arena.folder, "archivist"):
        await first.ready()
        tenant = await tenant_of(arena, first, workspace)
        async with tenant.client:
            await tenant.upload_and_settle("The kiln in Brickwick burns at 940 degrees.", "kiln")
            before = sum((await arena.sinks.ends(CHAT_REQUESTS)).values())
            mill.freeze()
            try:
                asked = {"message": question, "conversation_id": str(conversation)}
                asking = asyncio.create_task(tenant.client.post("/v1/chat", json=asked))
                await eventually(lambda: grown(arena, CHAT_REQUESTS, before), within=20)
                await first.kill()
            finally:
                mill.thaw()
            with pytest.raises(httpx.TransportError):
                await asking
        await second.ready()
        async with R(30) as recovery:
            await recovery.until(lambda: answered(arena, conversation, question))
        tenant = await tenant_of(arena, second, workspace)
        async with tenant.client:
            # The reply to the dead gateway lies in a partition that somebody else may read: it is not theirs.
            other = await tenant.post("/v1/chat", {"message": "Who?", "conversation_id": str(conversation)})
            assert other["conversation_id"] == str(conversation)
            async with R(20) as recovery:
                await recovery.until(lambda: answered(arena, conversation, question, "Who?"))
        interactions = await arena.sinks.bodies(INTERACTIONS, workspace)
        once(body.request_id for body in interactions)
        assert [body.question.content for body in interactions] == [question, "Who?"]
        assert "940" in interactions[0].answer
        replies = [body for body in await arena.sinks.bodies(CHAT_REPLIES, workspace) if body.kind == "final"]
        once(body.request_id for body in replies)


async def answered(arena: Arena, conversation: UUID, *questions: str) -> bool:
    """Whether the archive holds just these questions of the conversation, each with an answer, in this order."""
    rows = await arena.sinks.pool.fetch(
        "select question, answer, error from interactions where conversation_id = $1 order by asked_at", conversation
    )
    assert all(row["answer"] and row["error"] is None for row in rows)
    return [row["question"] for row in rows] == list(questions)


async def documents_of(arena: Arena, workspace: str, count: int) -> bool:
    found = await arena.sinks.pool.fetchval("select count(*) from documents where workspace = $1", workspace)
    return bool(found == count)


@pytest.mark.fault(53)
async def test_no_read_crosses_between_workspaces(
    arena: Arena, mill: Running, door: Running, workspace: str, calm: str
) -> None:
    one, other = await tenant_of(arena, door, workspace), await tenant_of(arena, door, calm)
    canaries = {name: f"canary{uuid4().hex}" for name in (workspace, calm)}
    async with one.client, other.client:
        ids = {}
        for tenant in (one, other):
            text = f"The secret word of this mill is {canaries[tenant.workspace]}."
            ids[tenant.workspace] = await tenant.upload_and_settle(text, "word")
        for tenant, stranger in ((one, other), (other, one)):
            foreign = [canaries[stranger.workspace], ids[stranger.workspace]]
            asked = f"What is the secret word {canaries[stranger.workspace]} of this mill?"
            shown = await tenant.passages(asked, top_k=20)
            # A search that finds nothing at all would cross nothing either.
            assert ids[tenant.workspace] in {str(passage["document_id"]) for passage in shown}
            shown += (await tenant.get("/v1/documents"))["documents"]
            T(tenant.workspace, shown, foreign)
            assert await tenant.status("GET", f"/v1/documents/{ids[stranger.workspace]}") == 404
            answer = await tenant.post("/v1/rag/query", {"query": "What is the secret word of this mill?"})
            T(tenant.workspace, answer["passages"], foreign)
            T(tenant.workspace, [{"answer": answer["answer"]}], foreign)


@pytest.mark.fault(55)
async def test_a_forged_reply_address_publishes_nothing_elsewhere(arena: Arena, mill: Running, workspace: str) -> None:
    since = await arena.sinks.ends(RAW_EVENTS)
    letters = await arena.sinks.ends(DEAD_LETTERS)
    request = ChatRequest(
        workspace=workspace,
        request_id=uuid4(),
        conversation_id=uuid4(),
        messages=(ChatMessage(role="user", content="Where to?"),),
        purpose="search",
        reply_to=ReplyTo(partition=CHAT_REPLIES.partitions + 90, gateway="forged"),
        accepted_at=now(),
        deadline=now().replace(year=now().year + 1),
    )
    envelope = new_envelope(request, id=request.request_id, source="/forged")
    encoded = await arena.publisher.encode(CHAT_REQUESTS, request, envelope)
    encoded.headers.extend([("reply_to", b"raw.events"), ("correlation_id", b"1")])
    await arena.publisher.send([encoded])

    async def buried() -> bool:
        found = await arena.sinks.letters(CHAT_REQUESTS, letters)
        return [letter.event_id for letter in found] == [request.request_id]

    await eventually(buried, within=30, every=0.3)
    assert await arena.sinks.ends(RAW_EVENTS) == since


@pytest.fixture
async def traced(arena: Arena, kept_mill: Kept, receiver: Receiver) -> AsyncIterator[tuple[Running, Running]]:
    """Workers and a gateway that export their traces, in place of the shared workers."""
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    if kept_mill.running is not None:
        await kept_mill.running.kill()
    door = gateway(arena.environment | told, arena.folder)
    async with ending(door), hosting(arena.environment | told, arena.folder, *WORKERS) as mill:
        await door.ready()
        yield mill, door


@pytest.mark.fault(57)
@pytest.mark.slow
async def test_no_secret_shows_in_logs_traces_or_dead_letters(
    arena: Arena, traced: tuple[Running, Running], receiver: Receiver, workspace: str
) -> None:
    mill, door = traced
    tenant = await tenant_of(arena, door, workspace)
    key = tenant.client.headers["authorization"].removeprefix("Bearer ")
    async with tenant.client:
        source = await tenant.source("generic", "whsec_" + "Q0FOQVJZ" * 4)
        await source.accepted({"id": "a", "text": "fine"})
        await source.accepted(b'{"id": broken canary-in-a-body')
        assert (await source.generic({"id": "a"}, headers={"webhook-signature": "v1,forged"})).status_code == 401
        for proxy in arena.proxies.values():
            await proxy.refuse()
        await tenant.client.get("/v1/sources")
        await tenant.client.post("/v1/search", json={"query": "x"})
        await arena.heal()
        await tenant.passages("anything")
    passwords = [value for name, value in arena.direct.items() if "PASSWORD" in name or "SECRET" in name]
    passwords += [arena.direct["QDRANT_API_KEY"], _password(arena.direct["POSTGRES_DSN"])]
    passwords += [_password(arena.direct["REDIS_URL"]), key, "Q0FOQVJZ", "canary-in-a-body"]
    for process in (mill, door):
        said = process.said()
        assert not [secret[:4] for secret in passwords if secret in said]
    await eventually(lambda: exported(receiver, workspace), within=20, every=0.2)
    for export in receiver.exports():
        assert not [secret[:4] for secret in passwords if secret.encode() in export]
    for record in await arena.sinks.records(DEAD_LETTERS):
        # The body of a letter is the sender's; none of our own secrets may be in it.
        for secret in passwords[:-1]:
            assert secret.encode() not in (record.value or b"")


def exported(receiver: Receiver, workspace: str) -> bool:
    """Whether spans of this workspace have come from the gateway and from workers."""
    spans = list(receiver.spans())
    ours = {span.trace for span in spans if span.attributes.get("millrace.workspace") == workspace}
    names = {span.name for span in spans if span.trace in ours}
    return any("/v1/hooks" in name for name in names) and "process raw.events" in names


def _password(address: str) -> str:
    return address.partition("://")[2].rpartition("@")[0].rpartition(":")[2]


@pytest.mark.fault(33)
@pytest.mark.slow
async def test_a_database_whose_connections_are_all_held_is_a_503_in_time(arena: Arena, workspace: str) -> None:
    held = gateway(arena.environment | {"POSTGRES_POOL_SIZE": "2"}, arena.folder)
    async with ending(held):
        await held.ready()
        tenant = await tenant_of(arena, held, workspace)
        async with tenant.client, arena.sinks.pool.acquire() as connection:
            assert await tenant.status("GET", "/v1/sources") == 200
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("lock table sources in access exclusive mode")
            try:
                asked = [asyncio.create_task(tenant.client.get("/v1/sources", timeout=45)) for _ in range(8)]
                # Two hold the connections and wait for the lock; nobody else waits for them longer than this.
                async with R(15) as recovery:
                    await recovery.until(lambda: sum(task.done() for task in asked) == 6)
            finally:
                await transaction.rollback()
            answers = await asyncio.gather(*asked)
            assert sorted(answer.status_code for answer in answers) == [200] * 2 + [503] * 6
            assert await tenant.status("GET", "/v1/sources") == 200
