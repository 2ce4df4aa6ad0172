"""The commands' way to the gateway: its HTTP API, with errors turned into what a user can do about them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import stamina
from pydantic import Field, SecretStr

from infra.cli.surroundings import adopt_local_stack, local_api_key
from infra.cli.terminal import CommandError, Status
from infra.settings import Settings, load

AWAY = frozenset({429, 502, 503, 504})
"""Answers that say: not now. Tried again, then reported as unreachable."""
DENIED = frozenset({401, 403})
TRIES = 6
PATIENCE_SECONDS = 30.0


class ClientSettings(Settings):
    """`MILLRACE_GATEWAY_URL` and `MILLRACE_API_KEY`; of the local stack where they are not set."""

    url: str = Field(default="", alias="MILLRACE_GATEWAY_URL")
    api_key: SecretStr = Field(default=SecretStr(""), alias="MILLRACE_API_KEY")
    timeout_s: float = Field(default=120, gt=0, alias="MILLRACE_CLIENT_TIMEOUT_S")


class Away(Exception):  # noqa: N818 - a state, not a fault
    """The gateway is not there now. `retry_after`: seconds that it asked to wait."""

    def __init__(self, detail: str, retry_after: float = 0.0) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Gateway:
    """An open connection to the gateway. Every call raises CommandError: UNREACHABLE, REFUSED or FAILED (not found)."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def get(self, path: str, **query: str | int | None) -> Any:
        """Return the JSON at `path`."""
        parameters = {name: value for name, value in query.items() if value is not None}
        return await self._send("GET", path, params=parameters)

    async def post(self, path: str, body: Mapping[str, object]) -> Any:
        """Post JSON and return the JSON answer. Not tried again: a question asked twice is answered twice."""
        return await self._once("POST", path, tries=1, json=body)

    async def upload(self, path: Path, fields: Mapping[str, str]) -> Any:
        """Upload a file with form fields, again while the gateway is away. Raises OSError if it cannot be read."""
        content = await asyncio.to_thread(path.read_bytes)
        # the key is what makes a second try the same event, where the first one's answer was lost
        headers = {"idempotency-key": str(uuid4())}
        files = {"file": (path.name, content)}
        return await self._send("POST", "/v1/documents", data=fields, files=files, headers=headers)

    async def _send(self, method: str, path: str, **request: Any) -> Any:
        return await self._once(method, path, tries=TRIES, **request)

    async def _once(self, method: str, path: str, *, tries: int, **request: Any) -> Any:
        try:
            async for attempt in stamina.retry_context(on=_wait, attempts=tries, timeout=PATIENCE_SECONDS):
                with attempt:
                    return _read(await self._exchange(method, path, **request))
        except Away as error:
            raise CommandError(
                Status.UNREACHABLE,
                f"no gateway at {self._client.base_url}: {error}",
                "start the local stack with `millrace up`, or set MILLRACE_GATEWAY_URL",
            ) from error
        raise AssertionError("unreachable: the retry loop returns or raises")

    async def _exchange(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            return await self._client.request(method, path, **request)
        except httpx.TransportError as error:
            raise Away(f"{type(error).__name__}: {error}") from error


def _wait(error: Exception) -> bool | float:
    if not isinstance(error, Away):
        return False
    return min(error.retry_after, PATIENCE_SECONDS) or True


def _read(response: httpx.Response) -> Any:
    if response.is_success:
        return response.json()
    code, detail = _problem(response)
    if response.status_code in AWAY:
        raise Away(detail, _seconds(response.headers.get("retry-after", "")))
    if response.status_code in DENIED:
        next_step = "set MILLRACE_API_KEY to a key of `millrace keys create`"
        raise CommandError(Status.REFUSED, detail, next_step, code)
    status = Status.FAILED if response.status_code == httpx.codes.NOT_FOUND or response.is_server_error else None
    raise CommandError(status or Status.REFUSED, detail, code=code)


def _problem(response: httpx.Response) -> tuple[str, str]:
    """Read RFC 9457 problem details; anything else counts as an answer of something in between."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return f"http_{response.status_code}", f"answered {response.status_code} {response.reason_phrase}"
    detail = str(body.get("detail") or body.get("title") or f"answered {response.status_code}")
    return str(body.get("code") or f"http_{response.status_code}"), detail


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isdigit() else 0.0


@asynccontextmanager
async def open_gateway() -> AsyncIterator[Gateway]:
    """Yield the gateway of the environment or the local stack. Raises CommandError if neither names one."""
    # stamina reports each retry through structlog, by default on stdout, where only results belong
    stamina.instrumentation.set_on_retry_hooks([])
    home = adopt_local_stack()
    settings = load(ClientSettings)
    if not settings.url:
        message = f"no gateway is known: MILLRACE_GATEWAY_URL is not set and {home.root} holds no running stack"
        raise CommandError(Status.UNREACHABLE, message, "start the local stack with `millrace up`")
    key = settings.api_key.get_secret_value() or local_api_key(home)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(base_url=settings.url, headers=headers, timeout=settings.timeout_s) as client:
        yield Gateway(client)
