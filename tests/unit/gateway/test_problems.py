"""Every failure in one shape, with nothing of our insides."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from gateway.problems import Code
from infra.errors import Permanent, Transient
from infra.telemetry.metrics import REGISTRY
from schemas.dead_letters import Reason
from tests.unit.gateway.conftest import Door, assert_problem

DOCS = Path(__file__).parents[3] / "docs" / "api.md"


def failing(app: FastAPI, error: Exception) -> None:
    async def fail() -> None:
        raise error

    app.add_api_route("/fail", fail)


async def test_an_unknown_path(door: Door) -> None:
    assert_problem(await door.client.get("/nothing"), 404, "not_found")


async def test_a_wrong_method_names_the_right_ones(door: Door) -> None:
    response = await door.client.put("/v1/search", json={})
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


async def test_invalid_fields_are_pointed_at_and_not_repeated(door: Door) -> None:
    response = await door.client.post("/v1/search", json={"query": "", "top_k": 1000, "extra": "hunter2"})
    body = assert_problem(response, 422, "invalid_request")
    assert {error["pointer"] for error in body["errors"]} == {"/query", "/top_k", "/extra"}
    assert "hunter2" not in response.text


async def test_a_nested_fault_has_its_pointer(door: Door) -> None:
    response = await door.client.post("/v1/search", json={"query": "a", "filters": {"documents": ["x"]}})
    assert assert_problem(response, 422, "invalid_request")["errors"][0]["pointer"] == "/filters/documents/0"


async def test_a_query_fault_has_its_place(door: Door) -> None:
    response = await door.client.get("/v1/documents?limit=0")
    assert assert_problem(response, 422, "invalid_request")["errors"][0]["pointer"] == "query/limit"


async def test_a_body_that_is_not_json(door: Door) -> None:
    response = await door.client.post("/v1/search", content=b"{", headers={"content-type": "application/json"})
    assert_problem(response, 400, "invalid_json")


async def test_a_body_that_is_not_utf8(door: Door) -> None:
    content = b'{"query": "\xff"}'
    response = await door.client.post("/v1/search", content=content, headers={"content-type": "application/json"})
    assert response.status_code in {400, 422}
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_fault_of_ours_shows_nothing_of_it(door: Door) -> None:
    failing(door.app, RuntimeError("password is hunter2"))
    response = await door.client.get("/fail")
    assert_problem(response, 500, "internal_error")
    assert "hunter2" not in response.text
    assert "Traceback" not in response.text


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Transient("kafka", "secret detail"), 503, "broker_unavailable"),
        (Transient("neo4j", "secret detail", retry_after=7.4), 503, "dependency_unavailable"),
        (Permanent(Reason.OVERSIZE, "secret detail"), 413, "payload_too_large"),
        (Permanent(Reason.REFUSED_BY_SINK, "secret detail"), 422, "refused"),
    ],
)
async def test_outcomes_of_adapters(door: Door, error: Exception, status: int, code: str) -> None:
    failing(door.app, error)
    response = await door.client.get("/fail")
    assert_problem(response, status, code)
    assert "secret detail" not in response.text
    if status == 503:
        assert response.headers["retry-after"] == ("7" if code == "dependency_unavailable" else "5")


async def test_openai_clients_get_openai_errors(door: Door) -> None:
    refused = await door.client.post("/v1/chat/completions", json={}, headers={"authorization": "Bearer x"})
    assert refused.status_code == 401
    assert refused.json()["error"] == {
        "message": Code.INVALID_KEY.value.meaning,
        "type": "authentication_error",
        "param": None,
        "code": "invalid_key",
    }
    invalid = await door.client.post("/v1/chat/completions", json={"messages": []})
    assert invalid.json()["error"]["param"] == "messages"
    assert invalid.json()["error"]["type"] == "invalid_request_error"


async def test_the_type_of_a_problem_can_be_looked_up(door: Door) -> None:
    for code in Code:
        response = await door.client.get(code.type, headers={"authorization": ""})
        assert response.json()["code"] == code.label
        assert response.json()["meaning"]
    assert_problem(await door.client.get("/v1/problems/unheard_of"), 404, "not_found")


def test_the_guide_lists_every_code_with_its_status() -> None:
    text = DOCS.read_text(encoding="utf-8")
    listed = {line.split("|")[1].strip(" `"): line for line in text.splitlines() if line.startswith("| `")}
    for code in Code:
        assert code.label in listed, f"docs/api.md does not list {code.label}"
        assert str(code.value.status) in listed[code.label]
        assert code.value.meaning in listed[code.label]


async def test_requests_are_counted_by_route_and_not_by_path(door: Door) -> None:
    def counted(route: str, status: str) -> float:
        labels = {"route": route, "method": "GET", "status": status}
        return REGISTRY.get_sample_value("millrace_http_requests_total", labels) or 0.0

    before = counted("/v1/problems/{code}", "404"), counted("unmatched", "404")
    await door.client.get("/v1/problems/one")
    await door.client.get("/v1/problems/two")
    await door.client.get("/wp-admin")
    assert counted("/v1/problems/{code}", "404") == before[0] + 2
    assert counted("unmatched", "404") == before[1] + 1


async def test_each_request_has_an_id_of_its_own(door: Door) -> None:
    ids: set[Any] = {(await door.client.get("/health/live")).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
