"""A workspace of a test's own on the running platform, used as a client and as a webhook sender would."""

import asyncio
import base64
import hashlib
import hmac
import time
from typing import Any
from uuid import uuid4

import httpx
import orjson

from tests.eventually import eventually

SETTLED = frozenset({"complete", "not_a_document", "dead_lettered"})


class Tenant:
    """A workspace with an API key; every call fails the test on an unexpected status."""

    def __init__(self, workspace: str, client: httpx.AsyncClient) -> None:
        self.workspace = workspace
        self.client = client

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        answer = await self.client.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def status(self, method: str, path: str, **request: Any) -> int:
        return (await self.client.request(method, path, **request)).status_code

    async def upload(self, text: str, external_id: str, **fields: Any) -> dict[str, Any]:
        accepted: dict[str, Any] = await self.post(
            "/v1/documents", {"text": text, "external_id": external_id, **fields}
        )
        return accepted

    async def upload_and_settle(self, text: str, external_id: str, **fields: Any) -> str:
        accepted = await self.upload(text, external_id, **fields)
        await self.settled(accepted["event_id"])
        return str(accepted["document_id"])

    async def event(self, event_id: str) -> dict[str, Any]:
        """Return the event, in state `unknown` while the ledger or the gateway cannot tell."""
        try:
            answer = await self.client.get(f"/v1/events/{event_id}")
        except httpx.TransportError:
            return {"state": "unknown"}
        if answer.status_code == 503:
            return {"state": "unknown"}
        assert answer.status_code in {200, 404}, answer.text
        return answer.json() if answer.status_code == 200 else {"state": "unknown"}

    async def settled(self, event_id: str, within: float = 60) -> dict[str, Any]:
        """Wait for the event's end and return it."""

        async def check() -> dict[str, Any] | None:
            event = await self.event(event_id)
            return event if event["state"] in SETTLED else None

        found = await eventually(check, within=within, every=0.1)
        assert found is not None
        return found

    async def passages(self, query: str, **fields: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.post("/v1/search", {"query": query, **fields}))["passages"]
        return found

    async def found(self, query: str) -> set[str]:
        """Return the documents that a search returns."""
        return {passage["document_id"] for passage in await self.passages(query, top_k=20)}

    async def source(self, connector: str, secret: str = "") -> "Sender":
        secret = secret or "whsec_" + base64.b64encode(uuid4().bytes + uuid4().bytes).decode()
        body = {"name": f"{connector}-{uuid4().hex[:8]}", "connector": connector, "secret": secret}
        made = await self.post("/v1/sources", body)
        return Sender(self, made["source_id"], made["hook_path"], secret)

    async def completeness(self, source_id: str) -> dict[str, Any]:
        sources = (await self.get("/v1/sources"))["sources"]
        found: dict[str, Any] = next(each for each in sources if each["source_id"] == source_id)["completeness"]
        return found


class Sender:
    """A registered webhook source, as the outside system that owns its secret."""

    def __init__(self, tenant: Tenant, source_id: str, path: str, secret: str) -> None:
        self.tenant = tenant
        self.source_id = source_id
        self.path = path
        self._secret = secret

    async def github(self, event: str, body: bytes, delivery: str | None = None) -> httpx.Response:
        signature = hmac.new(self._secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "content-type": "application/json",
            "x-github-event": event,
            "x-github-delivery": delivery or str(uuid4()),
            "x-hub-signature-256": f"sha256={signature}",
        }
        return await self.tenant.client.post(self.path, content=body, headers=headers)

    async def generic(
        self, body: dict[str, Any] | bytes, delivery: str | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        delivery, at = delivery or f"msg_{uuid4().hex}", str(int(time.time()))
        key = base64.b64decode(self._secret.removeprefix("whsec_"))
        digest = hmac.new(key, f"{delivery}.{at}.".encode() + content, hashlib.sha256).digest()
        signed = {
            "content-type": "application/json",
            "webhook-id": delivery,
            "webhook-timestamp": at,
            "webhook-signature": "v1," + base64.b64encode(digest).decode(),
        }
        return await self.tenant.client.post(self.path, content=content, headers={**signed, **(headers or {})})

    async def accepted(self, body: dict[str, Any] | bytes, delivery: str | None = None) -> str:
        """Send a generic event, retrying like a real sender until it is accepted; return the event id."""

        async def send() -> str | None:
            try:
                answer = await self.generic(body, delivery)
            except httpx.TransportError:
                return None
            return str(answer.json()["event_id"]) if answer.status_code == 202 else None

        found = await eventually(send, within=60, every=0.2)
        assert found is not None
        return found


async def all_settled(tenant: Tenant, event_ids: list[str], within: float = 120) -> list[dict[str, Any]]:
    """Wait for many events, a few at a time."""
    slots = asyncio.Semaphore(8)

    async def one(event_id: str) -> dict[str, Any]:
        async with slots:
            return await tenant.settled(event_id, within)

    return await asyncio.gather(*(one(event_id) for event_id in event_ids))
