"""Keys at the door: which are let in, for how long they are believed."""

import pytest

from gateway.auth import KeyCheck
from infra.errors import Transient
from infra.postgres.keys import PresentedKey, Principal
from tests.eventually import eventually
from tests.unit.gateway.conftest import KEY, OTHER_KEY, Door, assert_problem


@pytest.mark.parametrize("header", ["", "Basic dXNlcjpwYXNz", "Bearer", "Bearer ", KEY])
async def test_a_request_without_a_key_is_refused(door: Door, header: str) -> None:
    response = await door.client.get("/v1/sources", headers={"authorization": header})
    assert_problem(response, 401, "missing_key")
    assert response.headers["www-authenticate"] == 'Bearer realm="millrace"'
    assert door.asked_keys == []


@pytest.mark.parametrize("key", ["nonsense", KEY.upper(), KEY[:-1], f"mr_{'c' * 12}_{'1' * 64}", "mr_é_"])
async def test_a_wrong_key_is_refused(door: Door, key: str) -> None:
    response = await door.client.get("/v1/sources", headers={"authorization": f"Bearer {key}".encode()})
    assert_problem(response, 401, "invalid_key")
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


async def test_the_key_is_asked_before_the_body_is_read(door: Door) -> None:
    async def body() -> object:
        pytest.fail("the body was read")
        yield b""

    response = await door.client.post("/v1/documents", content=body(), headers={"authorization": "Bearer x"})
    assert_problem(response, 401, "invalid_key")


async def test_an_unknown_path_below_v1_needs_a_key_too(door: Door) -> None:
    assert_problem(await door.client.get("/v1/nothing", headers={"authorization": ""}), 401, "missing_key")
    assert_problem(await door.client.get("/v1/nothing"), 404, "not_found")


async def test_the_scheme_is_case_insensitive(door: Door) -> None:
    response = await door.client.get("/v1/nothing", headers={"authorization": f"bearer {KEY}"})
    assert response.status_code == 404


async def test_the_workspace_is_the_keys(door: Door) -> None:
    mine = await door.client.post("/v1/documents", json={"text": "a", "source": "src_files"})
    assert mine.status_code == 202
    theirs = await door.client.post(
        "/v1/documents",
        json={"text": "a", "source": "src_files"},
        headers={"authorization": f"Bearer {OTHER_KEY}"},
    )
    assert_problem(theirs, 404, "source_not_found")
    assert {body.workspace for body in door.log.bodies} == {"acme"}


async def test_a_revoked_key_is_believed_for_the_cache_time_only() -> None:
    principals: dict[str, Principal] = {"a" * 12: Principal("a" * 12, "acme")}

    async def verify(key: PresentedKey) -> Principal | None:
        return principals.get(key.key_id)

    check = KeyCheck(verify, 0.05)
    assert await check.principal(KEY)
    principals.clear()
    assert await check.principal(KEY)

    async def refused() -> bool:
        return await check.principal(KEY) is None

    assert await eventually(refused, within=5)


async def test_another_secret_for_a_known_id_is_another_question() -> None:
    asked = []

    async def verify(key: PresentedKey) -> Principal | None:
        asked.append(key)
        return Principal(key.key_id, "acme") if len(asked) == 1 else None

    check = KeyCheck(verify, 60)
    assert await check.principal(KEY)
    assert await check.principal(KEY[:-1] + "0") is None
    assert await check.principal(KEY)
    assert len(asked) == 2


async def test_without_postgres_nobody_is_let_in(door: Door) -> None:
    async def verify(key: PresentedKey) -> Principal | None:
        raise Transient("postgres", "ConnectionRefusedError")

    door.connections.keys = KeyCheck(verify, 60)
    response = await door.client.get("/v1/sources")
    assert_problem(response, 503, "dependency_unavailable")
    assert response.json()["dependency"] == "postgres"
    assert response.headers["retry-after"]
