"""Says the steps of a stream by HTTP, as real senders do: the same delivery again until it is accepted."""

import asyncio
import base64
import hashlib
import hmac
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx

from bench.kill.model import World
from bench.kill.scenes import Scenes
from bench.kill.stream import Step, Trait, Way

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
ANSWER_WITHIN_S = 20.0
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which a sender tries again."""
ACCEPTED, OK, NOT_FOUND = 202, 200, 404
ENDED = frozenset({"complete", "not_a_document", "dead_lettered"})
"""States of an event after which nothing more comes of it."""
LOOK_EVERY_S = 0.2
CUE_WITHIN_S = 300.0
"""How long a step waits for what comes before it."""


@dataclass(frozen=True, slots=True)
class Account:
    """How a workspace is reached: its API key, and path and secret of each of its hooks by source name."""

    key: str
    hooks: Mapping[str, tuple[str, str]]


@dataclass
class Sent:
    """What happened at the senders."""

    accepted: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    """By cause."""
    refused: list[str] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    """From the first attempt to the acceptance."""


class Senders:
    """Senders of all workspaces, one delivery at once by each of `clients`.

    A client of its own for each: httpx looks through all connections of a client for each request, and with 24 of them
    the senders took more of the machine than the gateway did.
    """

    def __init__(
        self,
        clients: Sequence[httpx.AsyncClient],
        accounts: Mapping[str, Account],
        world: World,
        flooders: Sequence[httpx.AsyncClient] = (),
    ) -> None:
        self._clients = clients
        self._flooders = flooders
        self._accounts = accounts
        self._world = world
        self._chains: defaultdict[tuple[str, str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._scenes = Scenes(())
        self.sent = Sent()

    async def run(self, steps: Sequence[Step]) -> None:
        """Say `steps` in order, a flood beside them from where it begins; return when all are accepted or refused."""
        self._scenes = Scenes(steps)
        left, flood = iter(steps), iter([step for step in steps if step.trait is Trait.FLOOD])
        begins = asyncio.Event()

        async def sender(client: httpx.AsyncClient) -> None:
            for step in left:
                if step.trait is Trait.FLOOD and self._flooders:
                    begins.set()
                else:
                    await self._in_turn(step, client)
            begins.set()

        async def flooder(client: httpx.AsyncClient) -> None:
            await begins.wait()
            for step in flood:
                await self._in_turn(step, client)

        async with asyncio.TaskGroup() as group:
            for client in self._clients:
                group.create_task(sender(client))
            for client in self._flooders:
                group.create_task(flooder(client))

    async def _in_turn(self, step: Step, client: httpx.AsyncClient) -> None:
        # Senders take steps in order and a lock is fair: the steps of a chain are said in order.
        if step.chain is None:
            await self._on_cue(step, client)
        else:
            async with self._chains[step.chain]:
                await self._on_cue(step, client)

    async def _on_cue(self, step: Step, client: httpx.AsyncClient) -> None:
        """Wait for the earlier acts of its scene and for what the user saw before; then say it."""
        try:
            async with asyncio.timeout(CUE_WITHIN_S):
                for earlier in await self._scenes.earlier(step):
                    await _until(self._ended, earlier, client)
                    self._scenes.ended.add(earlier.event)
                if step.sees:
                    await _until(self._seen, step, client)
        except TimeoutError:
            self.sent.refused.append(f"step {step.number} ({step.way}, {step.kind}): its cue never came")
        else:
            await self._insist(step, client)
        self._scenes.said(step)

    async def _insist(self, step: Step, client: httpx.AsyncClient) -> None:
        began = time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            verdict = await self._attempt(step, client, first=attempt == 1)
            if verdict == "":
                self.sent.accepted += 1
                self.sent.waits_s.append(time.monotonic() - began)
                return
            if verdict.startswith("refused"):
                self.sent.refused.append(f"step {step.number} ({step.way}, {step.kind}): {verdict}")
                return
            self.sent.retries[verdict] += 1
            longest = min(FIRST_PAUSE_S * 2.0 ** min(attempt - 1, 10), LONGEST_PAUSE_S)
            await asyncio.sleep(random.uniform(longest / 2, longest))

    async def _attempt(self, step: Step, client: httpx.AsyncClient, *, first: bool) -> str:
        """Return an empty text once accepted, else why not; what begins with `refused` is for good."""
        try:
            answer = await self._say(step, client)
        except httpx.TransportError as fault:
            return type(fault).__name__
        if answer.status_code == ACCEPTED:
            wanted = self._world.event_id(step)
            given = UUID(answer.json()["event_id"])
            return "" if given == wanted else f"refused: answered event {given}, not {wanted}"
        if step.way is Way.REMOVE and answer.status_code == NOT_FOUND:
            # Not known to the ledger yet; or gone by an earlier attempt whose answer was lost.
            return "" if not first and await self._known(step, client) else "404 before the document is known"
        if answer.status_code in AGAIN:
            return str(answer.status_code)
        return f"refused: {answer.status_code} {answer.text[:200]}"

    async def _say(self, step: Step, client: httpx.AsyncClient) -> httpx.Response:
        account = self._accounts[step.workspace]
        bearer = {"authorization": f"Bearer {account.key}"}
        match step.way:
            case Way.HOOK:
                path, secret = account.hooks[step.source]
                return await client.post(path, content=step.body, headers=signed(step.delivery, step.body, secret))
            case Way.UPLOAD:
                document = {"text": step.text, "external_id": step.external_id, "title": step.title}
                headers = {**bearer, "idempotency-key": step.delivery}
                return await client.post("/v1/documents", json=document, headers=headers)
            case Way.REMOVE:
                document_id = self._world.events[self._world.event_id(step)].document_id
                headers = {**bearer, "idempotency-key": step.delivery}
                along = {"contents": "true"} if step.contents else {}
                return await client.delete(f"/v1/documents/{document_id}", params=along, headers=headers)

    async def _known(self, step: Step, client: httpx.AsyncClient) -> bool:
        return await self._read(f"/v1/events/{self._world.event_id(step)}", step, client) is not None

    async def _ended(self, step: Step, client: httpx.AsyncClient) -> bool:
        told = await self._read(f"/v1/events/{self._world.event_id(step)}", step, client)
        return told is not None and told["state"] in ENDED

    async def _seen(self, step: Step, client: httpx.AsyncClient) -> bool:
        document_id = self._world.events[self._world.event_id(step)].document_id
        told = await self._read(f"/v1/documents/{document_id}", step, client)
        return told is not None and step.sees in told["text"]

    async def _read(self, path: str, step: Step, client: httpx.AsyncClient) -> dict[str, Any] | None:
        """Return what is there; None if nothing is, or nobody answers."""
        headers = {"authorization": f"Bearer {self._accounts[step.workspace].key}"}
        try:
            answer = await client.get(path, headers=headers)
        except httpx.TransportError:
            return None
        told: dict[str, Any] | None = answer.json() if answer.status_code == OK else None
        return told


async def _until(
    true: Callable[[Step, httpx.AsyncClient], Awaitable[bool]], step: Step, client: httpx.AsyncClient
) -> None:
    while not await true(step, client):  # noqa: ASYNC110 - what another process says
        await asyncio.sleep(LOOK_EVERY_S)


def signed(delivery: str, body: bytes, secret: str) -> dict[str, str]:
    """Return the headers of Standard Webhooks, signed now."""
    at = str(int(time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{delivery}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": delivery,
        "webhook-timestamp": at,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
