"""Requests made of our own OpenAPI document, good ones and broken ones: the gateway of a whole stack fails at none.

A few of each operation in every run; `make fuzz` makes many (EXAMPLES, SEED).
"""

import itertools
import os
import re
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flow.tenant import Tenant
from tests.live.gateway.clients.programs import ran

EXAMPLES = os.environ.get("MILLRACE_FUZZ_EXAMPLES", "2")
SEED = os.environ.get("MILLRACE_FUZZ_SEED", "1")
ODD = ("\x00", "%00", "'", "../..", "9" * 40, "-1", "NaN", "１２", "Ω" * 600, "null", "e30=", "WyIiXQ==", "W251bGxd")
"""What parsers, cursors and databases stumble over."""
TEXTS = (
    b'"\\u0000"',
    b'"\\ud800"',
    b'"\\udfff\\ud800"',
    b"1e999",
    b"9" * 400,
    b"[" * 5_000,
    b"{}",
    b"null",
    b"NaN",
    b"\xff",
)
HEADERS = (
    *(
        {name: value}
        for name in ("idempotency-key", "last-event-id", "accept")
        for value in ("\x01", "é" * 300, "0" * 99)
    ),
    {"host": "a b"},
    {"host": "<script>"},
    {"content-type": "\x7f; charset=latin-9"},
    {"content-type": "multipart/form-data"},
    {"content-encoding": "gzip"},
    {"traceparent": "00-zz"},
    {"range": "bytes=9-1"},
)

HOOKS = """
import schemathesis

@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
"""
"""What is sent as JSON lines: the tool knows no such type, and reports an error for each operation that takes it."""

pytestmark = pytest.mark.timeout(1_800)


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def filled(path: str, value: str) -> httpx.URL:
    return httpx.URL(re.sub(r"\{\w+\}", lambda _: httpx.QueryParams({"x": value or "x"}).__str__()[2:], path))


@pytest.fixture
async def document(tenant: Tenant) -> dict[str, Any]:
    found: dict[str, Any] = (await tenant.client.get("/openapi.json")).json()
    return found


async def test_no_request_made_of_the_document_is_a_server_error(tenant: Tenant, tmp_path: Path) -> None:
    key = str(tenant.client.headers["authorization"])
    (tmp_path / "hooks.py").write_text(HOOKS)
    code, output = await ran(
        tmp_path,
        *(Path(sys.executable).with_name("schemathesis"), "run", str(tenant.client.base_url.join("/openapi.json"))),
        *("--header", f"Authorization: {key}", "--checks", "not_a_server_error", "--mode", "all"),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", SEED),
        *("--suppress-health-check", "all", "--request-timeout", "90", "--workers", "1"),
        SCHEMATHESIS_HOOKS="hooks",
    )
    assert code == 0, output[-8_000:]


async def test_odd_places_are_no_server_error(tenant: Tenant, document: dict[str, Any]) -> None:
    for (method, path, operation), value in itertools.product(operations(document), ODD):
        query = {each["name"]: value for each in operation.get("parameters", ()) if each["in"] == "query"}
        if "{" not in path and not query:
            continue
        response = await tenant.client.request(method, filled(path, value), params=query, json={})
        assert response.status_code < 500, f"{method} {path} {value!r}: {response.text}"


async def test_odd_bodies_and_headers_are_no_server_error(tenant: Tenant, document: dict[str, Any]) -> None:
    written = [each for each in operations(document) if each[0] in ("POST", "PATCH")]
    for (method, path, _), body in itertools.product(written, TEXTS):
        for content in (body, b'{"input": %s, "messages": %s, "query": %s, "message": %s}' % ((body,) * 4)):
            headers = {"content-type": "application/json"}
            response = await tenant.client.request(method, filled(path, "x"), content=content, headers=headers)
            assert response.status_code < 500, f"{method} {path} {content[:60]!r}: {response.text}"
    for (method, path, _), headers in itertools.product(written, HEADERS):
        sent = {name: value.encode() for name, value in headers.items()}
        response = await tenant.client.request(method, filled(path, "x"), content=b"{}", headers=sent)
        assert response.status_code < 500, f"{method} {path} {headers}: {response.text}"
