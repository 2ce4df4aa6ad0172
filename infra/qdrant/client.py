"""Opens the client of Qdrant (a server or the local vector door) and says what its failures mean."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NoReturn

import httpx
from qdrant_client import AsyncQdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from infra.errors import Permanent, Transient
from infra.settings import QdrantSettings
from infra.transport import transport
from schemas.dead_letters import Reason

DEPENDENCY = "qdrant"
CONNECTIONS = 64
"""Most at once; further requests wait for one of them."""
_MAX_DETAIL = 500
_RETRIED = frozenset({401, 403, 408, 425, 429})
"""Statuses that say nothing about the record: a wrong key or a busy server must pause a worker, not empty its topic."""
_NOT_IMPLEMENTED = 501
_NOT_FOUND = 404
_SERVER_ERROR = 500
_VECTOR_FAULT = re.compile(r"vector|dimension", re.IGNORECASE)
_NO_COLLECTION = re.compile(r"collection .* (doesn't|does not) exist", re.IGNORECASE)


@asynccontextmanager
async def open_client(settings: QdrantSettings) -> AsyncIterator[AsyncQdrantClient]:
    """Yield a client with kept-alive connections; nothing is sent yet. Its calls belong under `translating()`.

    The key travels as a header: given as `api_key` the client warns of plain http, which loopback is.
    Its version check is a thread and a blocking request at every start, so it is off.
    """
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    client = AsyncQdrantClient(
        url=settings.url,
        headers={"api-key": key} if key else None,
        timeout=max(1, round(settings.timeout_s)),
        check_compatibility=False,
        # without limits of its own the client opens a new connection per request to a loopback address
        limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=16),
        # A third of the CPU time of a search with httpx's own connections was theirs.
        transport=transport(CONNECTIONS),
    )
    try:
        yield client
    finally:
        await client.close()


@contextmanager
def translating() -> Iterator[None]:
    """Turn the client's errors into `Transient` or `Permanent`.

    Raises Transient for what will pass: no connection, timeouts, 5xx, 408 and 429, and also for what an operator has
    to mend and no record is guilty of (a refused key, a collection that is not there). Raises Permanent for a
    request that the server refuses: INVALID_VECTOR when it says that a vector is wrong, else REFUSED_BY_SINK, to which
    belongs 501: the local door names what it does not do.
    """
    try:
        yield
    except ResourceExhaustedResponse as error:
        raise Transient(DEPENDENCY, "asks to wait", retry_after=float(error.retry_after_s)) from error
    except UnexpectedResponse as error:
        _raise_for(error)
    except (ResponseHandlingException, httpx.HTTPError, OSError) as error:
        source = error.source if isinstance(error, ResponseHandlingException) else error
        raise Transient(DEPENDENCY, f"{type(source).__name__}: {source}"[:_MAX_DETAIL]) from error


def _raise_for(error: UnexpectedResponse) -> NoReturn:
    status = error.status_code or _SERVER_ERROR
    said = (error.content or b"").decode(errors="replace")[:_MAX_DETAIL]
    detail = f"status {status}: {said}"
    missing = status == _NOT_FOUND and _NO_COLLECTION.search(said) is not None
    if status in _RETRIED or missing or (status >= _SERVER_ERROR and status != _NOT_IMPLEMENTED):
        raise Transient(DEPENDENCY, detail) from error
    wrong_vector = status != _NOT_IMPLEMENTED and _VECTOR_FAULT.search(said) is not None
    raise Permanent(Reason.INVALID_VECTOR if wrong_vector else Reason.REFUSED_BY_SINK, detail) from error


async def ready(client: AsyncQdrantClient) -> None:
    """Return when Qdrant has answered an authorised request. Raises Transient."""
    with translating():
        await client.get_collections()
