"""From a signed webhook to a cited answer, on the whole platform."""

import asyncio
import json
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest

from tests.flow.tenant import Tenant, all_settled


def payloads(data: Path) -> list[Path]:
    found = sorted((data / "github-webhooks").rglob("*.json"))
    assert found, f"no payloads under {data}"
    return found


async def test_an_issue_becomes_searchable_answers_and_stands_in_the_graph(tenant: Tenant, sample_data: Path) -> None:
    sender = await tenant.source("github")
    path = next(path for path in payloads(sample_data) if path.parent.name == "issues" and "opened" in path.name)
    body = path.read_bytes()
    issue = orjson.loads(body)["issue"]
    answer = await sender.github("issues", body)
    assert answer.status_code == 202
    event = await tenant.settled(answer.json()["event_id"])
    assert event["state"] == "complete"
    (document,) = event["documents"]
    assert document["embedded_at"]
    assert document["graphed_at"]

    passages = await tenant.passages(issue["title"])
    assert passages[0]["document_id"] == document["document_id"]
    whole = await tenant.get(f"/v1/documents/{document['document_id']}")
    for passage in passages:
        assert whole["text"][passage["start"] : passage["end"]] == passage["text"]

    reply = await tenant.post("/v1/chat", {"message": issue["title"] + "?"})
    assert reply["citations"], reply
    for citation in reply["citations"]:
        assert whole["text"][citation["start"] : citation["end"]] == citation["quote"]

    login = issue["user"]["login"]
    graph = await tenant.get(f"/v1/graph/neighbors/{quote(f'person:github:{login}', safe='')}")
    assert any(
        neighbor["predicate"] == "AUTHORED" and document["document_id"] in neighbor["documents"]
        for neighbor in graph["neighbors"]
    )


async def test_every_real_payload_ends_as_documents_or_explicitly_not(tenant: Tenant, sample_data: Path) -> None:
    sender = await tenant.source("github")
    every = payloads(sample_data)
    accepted = []
    for path in every:
        answer = await sender.github(path.parent.name, path.read_bytes())
        assert answer.status_code == 202, (path, answer.text)
        accepted.append(answer.json()["event_id"])
    events = await all_settled(tenant, accepted)
    ends = {path.name: event["state"] for path, event in zip(every, events, strict=True)}
    assert set(ends.values()) <= {"complete", "not_a_document"}, ends
    counts = await tenant.completeness(sender.source_id)
    assert counts["complete"] is True
    assert counts["fetched"] == len(every)
    assert counts["pending"] == counts["dead_lettered"] == 0
    assert counts["normalised"] == counts["embedded"] == counts["graphed"]
    assert counts["normalised"] + counts["not_a_document"] == len(every)


async def test_what_the_sources_do_not_say_is_not_answered(tenant: Tenant) -> None:
    await tenant.upload_and_settle("The mill wheel turns because water falls on its blades.", "mill.md")
    reply = await tenant.post("/v1/rag/query", {"query": "Which wine goes well with grilled sardines?"})
    assert reply["abstained"] is True
    assert reply["citations"] == []


async def test_openai_shaped_chat_is_answered_with_citations(tenant: Tenant) -> None:
    await tenant.upload_and_settle("The tannery on Mill Lane was closed in 1911 after the flood.", "tannery.md")
    reply = await tenant.post(
        "/v1/chat/completions",
        {"model": "millrace", "messages": [{"role": "user", "content": "When was the tannery on Mill Lane closed?"}]},
    )
    assert "1911" in reply["choices"][0]["message"]["content"]
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert reply["millrace"]["citations"][0]["quote"]
    told = await tenant.client.post(
        "/v1/chat/completions",
        json={
            "model": "millrace",
            "stream": True,
            "messages": [{"role": "user", "content": "When was the tannery on Mill Lane closed?"}],
        },
    )
    events = [line.removeprefix("data: ") for line in told.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert text == reply["choices"][0]["message"]["content"]
    assert chunks[-1]["millrace"]["citations"] == reply["millrace"]["citations"]


async def test_a_redelivered_webhook_has_one_effect(tenant: Tenant) -> None:
    sender = await tenant.source("generic")
    body = {"id": "page-1", "title": "Sluice", "text": "The sluice gate is opened at dawn by the miller."}
    answers = await asyncio.gather(*(sender.generic(body, "msg_same") for _ in range(30)))
    assert {answer.status_code for answer in answers} == {202}
    (event_id,) = {answer.json()["event_id"] for answer in answers}
    event = await tenant.settled(event_id)
    assert event["state"] == "complete"
    assert len(event["documents"]) == 1
    assert len(await tenant.passages("Who opens the sluice gate?")) == 1
    assert (await tenant.completeness(sender.source_id))["fetched"] == 1


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 1, 2)])
async def test_the_newest_version_wins_in_any_order(order: tuple[int, ...], tenant: Tenant) -> None:
    sender = await tenant.source("generic")
    texts = {number: f"The wheel has {number * 12} paddles made of oak." for number in (1, 2, 3)}
    events = [
        await sender.accepted({"id": "wheel", "version": number, "title": "Wheel", "text": texts[number]})
        for number in order
    ]
    await all_settled(tenant, events)
    assert [passage["text"] for passage in await tenant.passages("How many paddles has the wheel?")] == [texts[3]]


async def test_a_deleted_document_is_gone_everywhere_and_a_stale_update_does_not_bring_it_back(tenant: Tenant) -> None:
    sender = await tenant.source("generic")
    page = {"id": "secret-page", "title": "Vault", "text": "The vault code is kept under the third millstone."}
    event = await tenant.settled(await sender.accepted({**page, "version": 5}))
    (document,) = event["documents"]
    assert document["document_id"] in await tenant.found("Where is the vault code kept?")
    await tenant.settled(await sender.accepted({"id": "secret-page", "version": 6, "deleted": True}))
    await tenant.settled(await sender.accepted({**page, "version": 4}))
    assert document["document_id"] not in await tenant.found("Where is the vault code kept?")
    assert await tenant.status("GET", f"/v1/documents/{document['document_id']}") in {404, 410}


async def test_a_user_deletes_an_upload_and_can_upload_it_again(tenant: Tenant) -> None:
    document = await tenant.upload_and_settle("The granary holds forty sacks of rye.", "granary.txt")
    gone = await tenant.client.delete(f"/v1/documents/{document}")
    assert gone.status_code == 202
    await tenant.settled(gone.json()["event_id"])
    assert await tenant.found("How many sacks of rye?") == set()
    assert await tenant.upload_and_settle("The granary holds fifty sacks of rye.", "granary.txt") == document
    assert await tenant.found("How many sacks of rye?") == {document}


async def test_poison_is_a_dead_letter_with_its_reason_and_its_neighbours_pass(tenant: Tenant) -> None:
    sender = await tenant.source("generic")
    bad = [b"{not json", b"\xff\xfe", b'{"id": 1, "text": {"nested": true}}', b'"only a string"']
    accepted = [(await sender.generic(body)).json()["event_id"] for body in bad]
    good = await sender.accepted({"id": "ok", "text": "The neighbour of poison is still read."})
    events = await all_settled(tenant, [*accepted, good])
    assert [event["state"] for event in events] == ["dead_lettered"] * len(bad) + ["complete"]
    reasons = [event["dead_letters"][0]["reason"] for event in events[:-1]]
    assert reasons[:2] == ["invalid_json", "invalid_json"]
    assert set(reasons[2:]) == {"schema_violation"}
    counts = await tenant.completeness(sender.source_id)
    assert (counts["fetched"], counts["dead_lettered"], counts["embedded"]) == (5, 4, 1)


async def test_a_large_document_goes_by_reference_and_is_found_at_its_end(tenant: Tenant) -> None:
    filler = "\n\n".join(f"Paragraph {number} speaks of nothing in particular." for number in range(400))
    text = "word " * 10 + filler + "\n\nThe last paragraph says that the ferryman's name is Aurelio."
    document = await tenant.upload_and_settle(text, "long.md")
    passages = await tenant.passages("What is the ferryman's name?")
    assert passages[0]["document_id"] == document
    assert "Aurelio" in passages[0]["text"]


async def test_an_event_of_nobody_is_not_found(tenant: Tenant) -> None:
    assert await tenant.status("GET", "/v1/events/00000000-0000-0000-0000-000000000000") == 404
