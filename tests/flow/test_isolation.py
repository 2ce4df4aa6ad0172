"""Two workspaces with the same documents: nothing that one asks returns anything of the other (invariant T)."""

from urllib.parse import quote

from tests.flow.tenant import Tenant

TEXT = "The tide mill at Eling grinds wheat twice a day. Its keeper is Mara Quill."


async def test_no_read_crosses(tenant: Tenant, rival: Tenant) -> None:
    ours = await tenant.source("generic")
    theirs = await rival.source("generic")
    page = {
        "id": "eling",
        "title": "Eling",
        "text": TEXT,
        "authors": ["Mara Quill"],
        "url": "https://example.org/eling",
    }
    our_event = await tenant.settled(await ours.accepted(page))
    their_event = await rival.settled(await theirs.accepted({**page, "text": TEXT + " Canary-Rival-7741."}))
    our_document = our_event["documents"][0]["document_id"]
    their_document = their_event["documents"][0]["document_id"]
    assert our_document != their_document

    question = "Who is the keeper of the tide mill at Eling? Canary-Rival-7741"
    assert await tenant.found(question) == {our_document}
    assert await rival.found(question) == {their_document}
    for path, body in (
        ("/v1/rag/query", {"query": question}),
        ("/v1/chat", {"message": question}),
        ("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": question}]}),
    ):
        answer = (await tenant.client.post(path, json=body)).text
        assert their_document not in answer
        assert "Canary-Rival-7741" not in answer.replace(question, "")

    # Asking for the other's documents by filter finds nothing rather than them.
    assert await tenant.passages(question, filters={"documents": [their_document]}) == []
    assert await tenant.passages(question, filters={"sources": [theirs.source_id]}) == []

    for path in (
        f"/v1/documents/{their_document}",
        f"/v1/events/{their_event['event_id']}",
        f"/v1/graph/neighbors/{quote(f'document:{their_document}', safe='')}",
    ):
        assert await tenant.status("GET", path) == 404, path
    assert await tenant.status("DELETE", f"/v1/documents/{their_document}") == 404
    listed = (await tenant.client.get("/v1/documents")).text + (await tenant.client.get("/v1/sources")).text
    assert their_document not in listed
    assert theirs.source_id not in listed
    assert await rival.found(question) == {their_document}


async def test_the_same_person_in_two_workspaces_is_two_entities(tenant: Tenant, rival: Tenant) -> None:
    for each, text in ((tenant, "alpha text about looms"), (rival, "beta text about looms")):
        sender = await each.source("generic")
        await each.settled(await sender.accepted({"id": "p", "title": "Looms", "text": text, "authors": ["Ida Loom"]}))
    documents = {
        each.workspace: {document["document_id"] for document in (await each.get("/v1/documents"))["documents"]}
        for each in (tenant, rival)
    }
    graph = await tenant.get(f"/v1/graph/neighbors/{quote('Ida Loom', safe='')}")
    stated = {document for neighbor in graph["neighbors"] for document in neighbor["documents"]}
    assert stated
    assert stated <= documents[tenant.workspace]


async def test_a_conversation_of_another_workspace_is_not_continued(tenant: Tenant, rival: Tenant) -> None:
    await rival.upload_and_settle("The password of the rival mill is a secret called Thistledown.", "p.md")
    theirs = await rival.post("/v1/chat", {"message": "What is the password of the rival mill?"})
    await tenant.upload_and_settle("Nothing to see here about thistles.", "n.md")
    ours = await tenant.client.post(
        "/v1/chat", json={"message": "And again?", "conversation_id": theirs["conversation_id"]}
    )
    assert "Thistledown" not in ours.text
