"""A question over the log, and each of its possible ends."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from schemas.chat import ChatReply, ChatRequest, Citation, Passage, ReplyError, Usage
from tests.unit.gateway.conftest import Door, assert_problem
from topics.catalogue import CHAT_REQUESTS

DOCUMENT = uuid4()
PASSAGE = Passage(
    number=1, document_id=DOCUMENT, version=3, ordinal=0, start=0, end=4, text="Yes.", score=0.9, cosine=0.8
)
CITATION = Citation(number=1, document_id=DOCUMENT, version=3, start=0, end=4, quote="Yes.")


def reply(request: ChatRequest, kind: str = "final", **fields: Any) -> ChatReply:
    values = {"workspace": request.workspace, "sequence": 0, "gateway": request.reply_to.gateway, "kind": kind}
    known = {"request_id": request.request_id, "conversation_id": request.conversation_id}
    return ChatReply.model_validate({**values, **known, **fields})


def answering(door: Door, *, kind: str = "final", **fields: Any) -> None:
    door.log.answer = lambda request: [reply(request, kind, **fields)]


async def test_search_returns_the_passages(door: Door) -> None:
    answering(door, passages=(PASSAGE,))
    body = {"query": " who? ", "top_k": 3, "filters": {"kinds": ["issue"], "metadata": {"team": "a"}}}
    response = await door.client.post("/v1/search", json=body)
    assert response.status_code == 200
    assert response.json()["passages"][0]["text"] == "Yes."
    assert response.json()["took_ms"] > 0
    ((topic, request, envelope),) = door.log.published
    assert topic is CHAT_REQUESTS
    assert isinstance(request, ChatRequest)
    assert (request.workspace, request.purpose, request.top_k) == ("acme", "search", 3)
    assert request.messages[0].content == "who?"
    assert request.filters.kinds == ("issue",)
    assert request.filters.metadata == {"team": "a"}
    assert request.reply_to.gateway == "gw-1"
    assert request.deadline - request.accepted_at == timedelta(seconds=0.1)
    assert envelope.id == request.request_id


async def test_a_search_may_count_documents(door: Door) -> None:
    passages = tuple(PASSAGE.model_copy(update={"number": number}) for number in (1, 2))
    answering(door, passages=passages)
    body = {"query": "who?", "top_k": 3, "group_by": "document", "group_size": 2}
    response = await door.client.post("/v1/search", json=body)
    (group,) = response.json()["groups"]
    assert (group["document_id"], group["passages"], group["score"]) == (str(DOCUMENT), [1, 2], 0.9)
    (request,) = door.log.bodies
    assert (request.group_by, request.group_size, request.top_k) == ("document", 2, 3)
    assert (await door.client.post("/v1/search", json={"query": "who?"})).json()["groups"] is None


@pytest.mark.parametrize(
    "body", [{"group_size": 2}, {"group_by": "document", "group_size": 4, "top_k": 80}, {"group_by": "source"}]
)
async def test_a_grouping_that_cannot_be_is_refused(door: Door, body: dict[str, Any]) -> None:
    assert_problem(await door.client.post("/v1/search", json={"query": "q", **body}), 422, "invalid_request")


TYPED = {
    "year": 2031,
    "level": 1.5,
    "draft": True,
    "team": ["weir", 7],
    "due": {"gte": "2031-01-05", "lt": "2031-02-01"},
}


@pytest.mark.parametrize(
    ("path", "question"), [("/v1/search", "query"), ("/v1/rag/query", "query"), ("/v1/chat", "message")]
)
async def test_filters_keep_their_types_at_every_door(door: Door, path: str, question: str) -> None:
    answering(door, text="x", passages=())
    filters = {"metadata": TYPED, "updated_from": "2031-01-05", "updated_to": "2031-01-05"}
    assert (await door.client.post(path, json={question: "q", "filters": filters})).status_code == 200
    told = door.log.bodies[0].filters
    assert told.metadata == {**TYPED, "team": ("weir", 7)}
    assert [type(told.metadata[name]) for name in ("year", "level", "draft")] == [int, float, bool]
    assert told.updated_from == datetime(2031, 1, 5, tzinfo=UTC)
    assert told.updated_to == datetime(2031, 1, 5, 23, 59, 59, 999_999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("filters", "pointer", "said"),
    [
        ({"metadata": {"a": None}}, "/filters/metadata/a", "null"),
        ({"metadata": {"a": []}}, "/filters/metadata/a", "alternatives"),
        ({"metadata": {"a": [["x"]]}}, "/filters/metadata/a", "list of them"),
        ({"metadata": {"a": {}}}, "/filters/metadata/a", "gte"),
        ({"metadata": {"a": {"$gt": 1}}}, "/filters/metadata/a", "gte"),
        ({"metadata": {"a": {"gt": True}}}, "/filters/metadata/a", "true and false"),
        ({"metadata": {"a": {"gt": 1, "lt": "2031-01-05"}}}, "/filters/metadata/a", "all numbers"),
        ({"metadata": {"a": {"gt": "soon"}}}, "/filters/metadata/a", "ISO 8601"),
        ({"metadata": {"a": 2**63}}, "/filters/metadata/a", "64 bits"),
        ({"updated_from": "soon"}, "/filters/updated_from", "ISO 8601"),
        ({"updated_to": 1_700_000_000}, "/filters/updated_to", "as text"),
    ],
)
async def test_a_filter_that_cannot_be_is_refused_in_words(
    door: Door, filters: dict[str, Any], pointer: str, said: str
) -> None:
    response = await door.client.post("/v1/search", json={"query": "q", "filters": filters})
    (fault,) = assert_problem(response, 422, "invalid_request")["errors"]
    assert fault["pointer"] == pointer
    assert said in fault["detail"]


async def test_a_question_is_answered_with_its_citations(door: Door) -> None:
    answering(door, text="Yes [1].", citations=(CITATION,), passages=(PASSAGE,), support=0.7, served_by="extractive")
    response = await door.client.post("/v1/rag/query", json={"query": "is it?"})
    body = response.json()
    assert body["answer"] == "Yes [1]."
    assert body["citations"][0]["quote"] == "Yes."
    assert (body["abstained"], body["support"], body["served_by"]) == (False, 0.7, "extractive")
    assert body["request_id"] == str(door.log.bodies[0].request_id)
    assert door.log.bodies[0].purpose == "query"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/rag/query", {"query": "is it?", "min_support": 0.7}),
        ("/v1/chat", {"message": "is it?", "min_support": 0.7}),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "is it?"}], "millrace": {"min_support": 0.7}},
        ),
        ("/v1/responses", {"input": "is it?", "millrace": {"min_support": 0.7}}),
    ],
)
async def test_a_request_may_name_the_least_support(door: Door, path: str, body: dict[str, Any]) -> None:
    answering(door, text="Yes.", support=0.8)
    assert (await door.client.post(path, json=body)).status_code == 200
    assert door.log.bodies[-1].min_support == 0.7


@pytest.mark.parametrize("least", [-0.1, 1.01, "high", [], float("1e400")])
async def test_a_support_that_is_no_share_is_refused(door: Door, least: object) -> None:
    content = json.dumps({"query": "is it?", "min_support": least})
    response = await door.client.post("/v1/rag/query", content=content, headers={"content-type": "application/json"})
    assert response.status_code in {400, 422}
    assert response.json()["code"] in {"invalid_request", "invalid_json"}
    assert not door.log.published


async def test_a_search_has_no_support_to_ask_for(door: Door) -> None:
    assert (await door.client.post("/v1/search", json={"query": "is it?", "min_support": 0.5})).status_code == 422


async def test_deltas_before_the_end_are_passed_over(door: Door) -> None:
    door.log.answer = lambda request: [
        reply(request, "delta", text="Ye"),
        reply(request, "final", text="Yes", sequence=1),
    ]
    assert (await door.client.post("/v1/rag/query", json={"query": "is it?"})).json()["answer"] == "Yes"


async def test_no_answer_in_time_is_a_504(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.exchange.GRACE_S", 0.05)
    started = time.perf_counter()
    assert_problem(await door.client.post("/v1/search", json={"query": "anyone?"}), 504, "deadline_passed")
    assert time.perf_counter() - started >= 0.1
    assert door.log.waiting == {}


@pytest.mark.parametrize(
    ("reply_code", "status", "code"),
    [
        ("deadline_passed", 504, "deadline_passed"),
        ("backend_unavailable", 503, "dependency_unavailable"),
        ("unknown_model", 404, "model_not_found"),
        ("backend_refused", 502, "answer_failed"),
        ("request_rejected", 400, "request_rejected"),
        ("search_refused", 422, "refused"),
    ],
)
async def test_an_error_reply_is_a_problem(door: Door, reply_code: str, status: int, code: str) -> None:
    answering(door, kind="error", error=ReplyError(code=reply_code, detail="in words"))
    body = assert_problem(await door.client.post("/v1/rag/query", json={"query": "q"}), status, code)
    assert (body["reply_code"], body["detail"]) == (reply_code, "in words")


async def test_an_error_without_a_word_is_still_a_problem(door: Door) -> None:
    answering(door, kind="error")
    assert_problem(await door.client.post("/v1/rag/query", json={"query": "q"}), 502, "answer_failed")


async def test_without_the_broker_nothing_is_asked(door: Door) -> None:
    door.log.down = True
    assert_problem(await door.client.post("/v1/search", json={"query": "q"}), 503, "broker_unavailable")
    door.log.down, door.log.ready = False, False
    assert_problem(await door.client.post("/v1/search", json={"query": "q"}), 503, "broker_unavailable")
    assert door.log.published == []


async def test_a_new_conversation_has_an_id_to_go_on_with(door: Door) -> None:
    answering(door, text="Hello.")
    response = await door.client.post("/v1/chat", json={"message": "hi", "retrieve": False})
    request = door.log.bodies[0]
    assert response.json()["conversation_id"] == str(request.conversation_id)
    assert (request.purpose, request.retrieve) == ("chat", False)


async def test_completions_have_openais_shape(door: Door) -> None:
    answering(
        door,
        text="Yes [1].",
        citations=(CITATION,),
        finish_reason="stop",
        model="m-1",
        usage=Usage(prompt_tokens=7, completion_tokens=2),
    )
    asked = {
        "model": "millrace",
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Is"}, {"type": "text", "text": "it?"}]},
        ],
        "temperature": 0.2,
        "max_tokens": 50,
        "stop": "\n",
        "user": "somebody",
    }
    body = (await door.client.post("/v1/chat/completions", json=asked)).json()
    request = door.log.bodies[0]
    assert [message.role for message in request.messages] == ["system", "user"]
    assert request.messages[1].content == "Is\nit?"
    assert request.model == ""
    assert (request.generation.temperature, request.generation.max_tokens, request.generation.stop) == (
        0.2,
        50,
        ("\n",),
    )
    assert body["object"] == "chat.completion"
    assert body["id"] == f"chatcmpl-{request.request_id}"
    assert body["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Yes [1].",
                "refusal": None,
                "annotations": [
                    {
                        "type": "url_citation",
                        "url_citation": {
                            "start_index": 4,
                            "end_index": 7,
                            "title": "",
                            "url": f"http://gateway/v1/documents/{DOCUMENT}",
                        },
                    }
                ],
            },
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert body["usage"] == {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    assert body["millrace"]["citations"][0]["quote"] == "Yes."
    assert body["model"] == "m-1"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"n": 2}, 400, "invalid_request"),
        ({"messages": [{"role": "user", "content": "  "}]}, 400, "invalid_request"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "unsupported_content"),
    ],
)
async def test_what_completions_refuse(door: Door, change: dict[str, Any], status: int, code: str) -> None:
    asked = {"model": "m", "messages": [{"role": "user", "content": "q"}]} | change
    response = await door.client.post("/v1/chat/completions", json=asked)
    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert door.log.published == []
