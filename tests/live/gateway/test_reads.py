"""What the ledger holds, read through the door; nothing of another workspace."""

import asyncio
from typing import Any
from uuid import uuid4

import asyncpg
import httpx

from infra.postgres.progress import GRAPH_SINK
from tests.eventually import lapse
from tests.live.postgres import rows


async def test_an_event_is_told_stage_by_stage(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, pool: asyncpg.Pool, workspace: str
) -> None:
    embedder = await rows.live_index(pool)
    document = uuid4()
    event = await rows.event(pool, workspace, outcome="documents", documents=[document])
    await rows.receipt(pool, workspace, event, document, embedder)
    told = (await client.get(f"/v1/events/{event}")).json()
    assert (told["state"], told["source"], told["connector"]) == ("searchable", "src_a", "files")
    assert [stage["stage"] for stage in told["stages"]] == ["accepted", "normalised", "embedded"]
    assert told["stages"][2]["detail"] == "1 of 1 documents"
    assert told["documents"][0]["document_id"] == str(document)
    assert told["documents"][0]["embedded_at"]
    assert told["documents"][0]["graphed_at"] is None
    await rows.receipt(pool, workspace, event, document, GRAPH_SINK)
    assert (await client.get(f"/v1/events/{event}")).json()["state"] == "complete"
    foreign = await stranger.get(f"/v1/events/{event}")
    assert (foreign.status_code, foreign.json()["code"]) == (404, "event_not_found")


async def test_ends_that_are_no_document_say_why(client: httpx.AsyncClient, pool: asyncpg.Pool, workspace: str) -> None:
    nothing = await rows.event(pool, workspace, outcome="not_a_document", detail="a ping")
    told = (await client.get(f"/v1/events/{nothing}")).json()
    assert (told["state"], told["stages"][-1]["detail"]) == ("not_a_document", "a ping")
    dead = await rows.event(pool, workspace)
    await rows.letter(pool, workspace, dead)
    told = (await client.get(f"/v1/events/{dead}")).json()
    assert told["state"] == "dead_lettered"
    assert told["dead_letters"][0]["reason"] == "invalid_json"
    assert told["stages"][-1] == {
        "stage": "dead_lettered",
        "at": told["dead_letters"][0]["last_at"],
        "detail": "normalizer: invalid_json",
    }


async def test_an_event_just_accepted_is_waited_for(
    client: httpx.AsyncClient, pool: asyncpg.Pool, workspace: str
) -> None:
    event = uuid4()
    asking = asyncio.create_task(client.get(f"/v1/events/{event}"))
    await lapse(0.2)  # what is tested is that the row comes later than the question
    await pool.execute(
        """insert into events (event_id, workspace, source, connector, delivery, accepted_at)
           values ($1, $2, 'src_a', 'files', 'd', now())""",
        event,
        workspace,
    )
    response = await asking
    assert response.status_code == 200
    assert response.json()["state"] == "accepted"


async def test_an_event_that_never_was_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"/v1/events/{uuid4()}")).json()["code"] == "event_not_found"
    assert (await client.get("/v1/events/nonsense")).json()["code"] == "invalid_request"


async def test_documents_are_listed_in_pages_and_read_whole(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, pool: asyncpg.Pool, workspace: str
) -> None:
    made = {str(await rows.document(pool, workspace, external_id=f"n/{number}")) for number in range(7)}
    issue = str(await rows.document(pool, workspace, "src_b", kind="issue"))
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query: dict[str, Any] = {"limit": 3, "source": "src_a"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/documents", params=query)).json()
        seen += [document["document_id"] for document in page["documents"]]
        assert all("text" not in document for document in page["documents"])
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(made)
    of_kind = (await client.get("/v1/documents", params={"kind": "issue"})).json()
    assert [document["document_id"] for document in of_kind["documents"]] == [issue]
    whole = (await client.get(f"/v1/documents/{issue}")).json()
    assert (whole["text"], whole["authors"][0]["name"]) == ("The whole text.", "Ada")
    assert (await stranger.get(f"/v1/documents/{issue}")).json()["code"] == "document_not_found"
    assert (await stranger.get("/v1/documents")).json() == {"documents": [], "next": None}


async def test_a_cursor_of_no_page_is_refused(client: httpx.AsyncClient) -> None:
    for cursor in ("nonsense", "bnVsbA==", "WzEsMl0=", "é"):
        response = await client.get("/v1/documents", params={"cursor": cursor})
        assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "query/cursor")


async def test_sources_show_how_complete_they_are(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, pool: asyncpg.Pool, workspace: str
) -> None:
    made = (await client.post("/v1/sources", json={"name": "eng", "connector": "github"})).json()
    await rows.event(pool, workspace, made["source_id"], outcome="not_a_document")
    await rows.event(pool, workspace, made["source_id"])
    (source,) = (await client.get("/v1/sources")).json()["sources"]
    assert source["completeness"] == {
        "fetched": 2,
        "normalised": 0,
        "embedded": 0,
        "graphed": 0,
        "dead_lettered": 0,
        "not_a_document": 1,
        "pending": 1,
        "complete": False,
    }
    assert made["secret"] not in str(source)
    assert (await stranger.get("/v1/sources")).json() == {"sources": []}
    other = (await stranger.post("/v1/sources", json={"name": "eng", "connector": "github"})).json()
    assert other["source_id"] != made["source_id"]


async def test_readiness_tells_each_dependency(client: httpx.AsyncClient) -> None:
    response = await client.get("/health/ready")
    assert response.status_code == 200
    states = response.json()["dependencies"]
    assert {name: state["ok"] for name, state in states.items()} == {
        "kafka": True,
        "postgres": True,
        "qdrant": False,
        "neo4j": False,
        "redis": False,
    }


async def test_without_the_graph_its_route_alone_fails(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/graph/neighbors/person:github:octocat")
    assert (response.status_code, response.json()["dependency"]) == (503, "neo4j")
    assert (await client.get("/v1/sources")).status_code == 200
