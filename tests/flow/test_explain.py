"""An answer is explained, run again, and compared, on the whole platform."""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from infra.kafka.codec import new_envelope
from infra.kafka.producer import Publisher
from infra.objects.store import ObjectStore
from schemas.envelope import Origin
from schemas.ids import point_id
from tests.chats import request
from tests.conftest import Environment, Servers
from tests.eventually import eventually
from tests.flow.tenant import Tenant
from tests.flow.test_commands import Ended, run
from topics.catalogue import CHAT_REQUESTS

QUESTION = "How deep is the mill pond of Lower Slade?"
Explain = Callable[..., Awaitable[Ended]]


@pytest.fixture
async def operator(platform: Servers, tmp_path: Path) -> Environment:
    """What an operator's commands are told."""
    found = await platform("postgres", "kafka")
    names = ("POSTGRES_DSN", "KAFKA_BOOTSTRAP_SERVERS", "OBJECT_STORE_URL")
    return {"MILLRACE_HOME": str(tmp_path / "none"), **{name: found[name] for name in names}}


@pytest.fixture
def explain(operator: Environment) -> Explain:
    async def call(*arguments: str) -> Ended:
        return await run(operator, "explain", *arguments)

    return call


async def archived(tenant: Tenant, request_id: str) -> dict[str, Any]:
    async def found() -> dict[str, Any] | None:
        answer = await tenant.client.get(f"/v1/chat/{request_id}/explain")
        return answer.json() if answer.status_code == 200 else None

    explained = await eventually(found, within=60)
    assert explained is not None
    return explained


async def test_an_answer_is_explained_and_run_again(
    tenant: Tenant, rival: Tenant, explain: Explain, operator: Environment
) -> None:
    document = await tenant.upload_and_settle("The mill pond of Lower Slade is three metres deep.", "pond.md")
    answer = await tenant.post("/v1/chat", {"message": QUESTION, "top_k": 3})
    told = await archived(tenant, answer["request_id"])

    assert (told["question"], told["answer"]) == (QUESTION, answer["answer"])
    assert (told["served_by"], told["adapter"], told["degraded"]) == ("extractive", "", False)
    assert told["parameters"]["top_k"] == 3
    assert Origin.parse(told["request_place"]).topic == "chat.requests"
    assert Origin.parse(told["prompt_place"]).topic == "chat.prompts"
    assert told["index_id"]
    best = told["retrieved"][0]
    assert best["document_id"] == document
    assert best["chunk_id"] == str(point_id(tenant.workspace, UUID(best["document_id"]), str(best["ordinal"])))
    assert 0 < told["parts"]["retrieved"] < told["parts"]["budget"]
    assert await rival.status("GET", f"/v1/chat/{answer['request_id']}/explain") == 404

    same = (await explain(f"chatcmpl-{answer['request_id']}", "--replay", "--json")).json
    assert same["prompt_place"] == told["prompt_place"]
    assert same["replay"]["answer"]["same"] is True, same["replay"]
    assert {each["change"] for each in same["replay"]["retrieved"]} == {"same"}

    # The document changes: the stored prompt still gives its answer, while another version is found now.
    await tenant.upload_and_settle("The mill pond of Lower Slade is four metres deep, since the flood.", "pond.md")
    replayed = (await explain(answer["request_id"], "--replay", "--json")).json["replay"]
    assert replayed["answer"]["same"] is True
    assert [each["change"] for each in replayed["retrieved"] if each["document_id"] == document] == ["changed"]
    shown = await explain(answer["request_id"], "--replay")
    assert shown.status == 0, shown.errors
    assert "the same answer" in shown.output
    assert "changed" in shown.output
    assert told["prompt_place"] in shown.output

    # Replays are in nobody's history.
    messages = await tenant.get(f"/v1/conversations/{answer['conversation_id']}/messages")
    assert len(messages["messages"]) == 2
    assert len((await tenant.get("/v1/conversations"))["conversations"]) == 1

    foreign = await explain(answer["request_id"], "--workspace", rival.workspace, "--json")
    assert (foreign.status, json.loads(foreign.errors)["error"]["code"]) == (1, "request_not_found")
    assert (await explain("nonsense")).status == 2

    await forget(operator, Origin.parse(told["prompt_place"]))
    gone = await explain(answer["request_id"], "--replay", "--json")
    assert (gone.status, json.loads(gone.errors)["error"]["code"]) == (1, "prompt_gone")
    assert (await explain(answer["request_id"])).status == 0


async def forget(operator: Environment, place: Origin) -> None:
    """Let the log forget the record at `place`, as retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=operator["KAFKA_BOOTSTRAP_SERVERS"])
    await admin.start()
    try:
        partition = TopicPartition(place.topic, place.partition)
        await admin.delete_records({partition: RecordsToDelete(before_offset=place.offset + 1)})
    finally:
        await admin.close()


async def test_a_question_that_ended_before_its_prompt_stands_in_its_conversation(
    tenant: Tenant, operator: Environment, explain: Explain
) -> None:
    late = request(
        QUESTION,
        within=timedelta(seconds=-1),
        workspace=tenant.workspace,
        request_id=uuid4(),
        conversation_id=uuid4(),
        purpose="chat",
    )
    objects = ObjectStore.open(operator["OBJECT_STORE_URL"])
    publisher = await Publisher.open([operator["KAFKA_BOOTSTRAP_SERVERS"]], objects)
    try:
        await publisher.publish(CHAT_REQUESTS, late, new_envelope(late, id=late.request_id, source="/test"))
    finally:
        await publisher.close()
    told = await archived(tenant, str(late.request_id))
    assert told["error"]["code"] == "deadline_passed"
    assert Origin.parse(told["request_place"]).topic == "chat.requests"
    asked, answer = (await tenant.get(f"/v1/conversations/{late.conversation_id}/messages"))["messages"]
    assert asked["content"] == QUESTION
    assert (answer["content"], answer["error"]["code"]) == ("", "deadline_passed")
    replayed = await explain(str(late.request_id), "--replay", "--json")
    assert (replayed.status, json.loads(replayed.errors)["error"]["code"]) == (1, "no_prompt")
