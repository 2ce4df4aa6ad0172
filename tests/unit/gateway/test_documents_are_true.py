"""The OpenAPI document and the guide say what the gateway does."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.problems import Code
from gateway.settings import GatewaySettings
from tests.unit.gateway.conftest import Door

DOCS = Path(__file__).parents[3] / "docs"
REQUEST = re.compile(r"^(GET|POST|DELETE|PUT|PATCH) \{\{host\}\}(\S+)$", re.MULTILINE)
UNDOCUMENTED = {"/openapi.json"}


def openapi(door: Door) -> dict[str, Any]:
    return door.app.openapi()


def template(path: str) -> re.Pattern[str]:
    return re.compile("^" + re.sub(r"\\\{\w+\\\}", "[^?]+", re.escape(path)) + "$")


async def test_every_request_of_the_http_file_exists(door: Door) -> None:
    paths = openapi(door)["paths"]
    requests = REQUEST.findall((DOCS / "api.http").read_text(encoding="utf-8"))
    assert len(requests) > 15
    for method, path in requests:
        bare = path.partition("?")[0]
        found = [known for known in paths if template(known).match(bare) and method.lower() in paths[known]]
        assert found or bare in UNDOCUMENTED, f"{method} {path} is not in the OpenAPI document"


async def test_the_http_file_has_a_request_for_every_operation(door: Door) -> None:
    requests = REQUEST.findall((DOCS / "api.http").read_text(encoding="utf-8"))
    for path, operations in openapi(door)["paths"].items():
        for method in operations:
            shown = [
                each for each in requests if each[0].lower() == method and template(path).match(each[1].split("?")[0])
            ]
            assert shown, f"docs/api.http shows no {method.upper()} {path}"


async def test_the_bodies_of_the_http_file_are_valid(door: Door) -> None:
    door.log.ready = False  # whoever would wait for an answer ends with 503
    text = (DOCS / "api.http").read_text(encoding="utf-8")
    for name, value in re.findall(r"^@(\w+) = (\S+)$", text, re.MULTILINE):
        text = text if name == "host" else text.replace(f"{{{{{name}}}}}", value)
    for block in text.split("\n###"):
        request = REQUEST.search(block)
        body = block.rpartition("\n\n")[2].strip()
        if request and "json" in block.lower() and body.startswith("{") and "/v1/hooks/" not in request[2]:
            answer = await door.client.request(request[1], request[2], json=json.loads(body))
            # Nothing stands behind the application here; what matters is that the body itself is not at fault.
            assert answer.status_code not in {400, 415, 422}, f"{request[2]}: {answer.text}"


async def test_every_operation_states_its_errors_as_problems(door: Door) -> None:
    document = openapi(door)
    assert "ProblemBody" in document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation.get("summary"), f"{method} {path}"
            assert operation.get("description"), f"{method} {path} has no description"
            for status, response in operation["responses"].items():
                if int(status) >= 400 and path != "/health/ready":
                    assert set(response["content"]) == {"application/problem+json"}, f"{method} {path} {status}"


async def test_keys_are_asked_for_where_they_are_needed(door: Door) -> None:
    for path, operations in openapi(door)["paths"].items():
        for method, operation in operations.items():
            open_path = path.startswith(("/v1/hooks/", "/v1/problems/")) or not path.startswith("/v1/")
            assert bool(operation.get("security")) is not open_path, f"{method} {path}"


async def test_request_bodies_have_examples(door: Door) -> None:
    document = openapi(door)
    for path, operations in document["paths"].items():
        for content in operations.get("post", {}).get("requestBody", {}).get("content", {}).values():
            schema = content["schema"]
            name = schema.get("$ref", "").rpartition("/")[2]
            shown = document["components"]["schemas"].get(name, schema)
            assert "example" in content or "examples" in shown or "file" in shown["properties"], path


async def test_the_document_is_served(door: Door) -> None:
    response = await door.client.get("/openapi.json", headers={"authorization": ""})
    assert response.json()["info"]["title"] == "Millrace"


def test_the_guide_names_each_setting_of_the_door_with_its_default() -> None:
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    settings = GatewaySettings()
    for alias, value in {
        "MILLRACE_MAX_BODY_BYTES": f"{settings.max_upload_bytes // 2**20} MiB",
        "MILLRACE_MAX_HOOK_BYTES": f"{settings.max_hook_bytes // 2**20} MiB",
        "MILLRACE_MAX_REQUEST_BYTES": f"{settings.max_request_bytes // 2**20} MiB",
        "MILLRACE_BODY_TIMEOUT_S": f"{settings.body_timeout_s:g} s",
        "MILLRACE_PUBLISH_TIMEOUT_S": f"{settings.publish_timeout_s:g} s",
    }.items():
        assert re.search(rf"\| {value} \| `{alias}` \|", text), alias


@pytest.mark.parametrize("code", Code)
def test_titles_and_meanings_are_sentences(code: Code) -> None:
    assert code.value.meaning.endswith(".")
    assert not code.value.title.endswith(".")
