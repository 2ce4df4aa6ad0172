"""Which failures of the client are transient and which permanent."""

import asyncio

import httpx
import pytest
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from infra.errors import Permanent, Transient
from infra.qdrant.client import translating
from schemas.dead_letters import Reason


def answered(status: int, said: str = "") -> UnexpectedResponse:
    return UnexpectedResponse(status, "reason", said.encode(), httpx.Headers())


@pytest.mark.parametrize(
    "error",
    [
        answered(500),
        answered(502),
        answered(503),
        answered(429),
        answered(408),
        answered(401, "Invalid API key or JWT"),
        answered(403, "Forbidden"),
        answered(404, "Not found: Collection `live` doesn't exist!"),
        ResponseHandlingException(httpx.ConnectError("refused")),
        ResponseHandlingException(httpx.ReadTimeout("slow")),
        httpx.PoolTimeout("busy"),
        ConnectionResetError("gone"),
        TimeoutError(),
    ],
    ids=str,
)
def test_what_will_pass_is_transient(error: Exception) -> None:
    with pytest.raises(Transient) as raised, translating():
        raise error
    assert raised.value.dependency == "qdrant"
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (answered(400, "Wrong input: Vector dimension error: expected dim: 4, got 3"), Reason.INVALID_VECTOR),
        (answered(400, "Wrong input: Not existing vector name error: x"), Reason.INVALID_VECTOR),
        (answered(400, "Format error in JSON body"), Reason.REFUSED_BY_SINK),
        (answered(404, "Not found: No point with id 7 found"), Reason.REFUSED_BY_SINK),
        (answered(409, "Wrong input: Collection `c` already exists!"), Reason.REFUSED_BY_SINK),
        (answered(413, "Payload error"), Reason.REFUSED_BY_SINK),
        (answered(422, "Validation error"), Reason.REFUSED_BY_SINK),
        (answered(501, "Not supported by the local vector door: multi-vectors"), Reason.REFUSED_BY_SINK),
    ],
    ids=str,
)
def test_what_will_never_pass_is_permanent(error: Exception, reason: Reason) -> None:
    with pytest.raises(Permanent) as raised, translating():
        raise error
    assert raised.value.reason is reason


def test_a_wait_that_the_server_asked_for_is_passed_on() -> None:
    with pytest.raises(Transient) as raised, translating():
        raise ResourceExhaustedResponse("slow down", 7)
    assert raised.value.retry_after == 7


def test_a_long_answer_is_cut() -> None:
    with pytest.raises(Permanent) as raised, translating():
        raise answered(400, "x" * 100_000)
    assert len(raised.value.detail) < 1000


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyError("bug"), Transient("kafka", "down")], ids=repr)
def test_what_is_not_the_clients_goes_through(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, translating():
        raise error
    assert raised.value is error
