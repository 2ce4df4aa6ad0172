"""A workspace as its users see it, and what they send."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

import httpx

from bench.kill.senders import signed

ACCEPTED, TOO_MANY = 202, 429
LOOK_S = 0.1
GIVEN_UP_S = 900.0
WORDS = ("weir", "sluice", "channel", "flood", "gate", "stone", "wheel", "axle", "grain", "miller", "race", "level")
WORDS += ("metre", "storm", "beam", "iron", "bank", "water", "keeper", "morning", "ladder", "rope", "lantern", "boat")
SYLLABLES = (
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "ha",
    "je",
    "ki",
    "lo",
    "mu",
    "na",
    "pe",
    "qui",
    "ro",
    "su",
    "ta",
    "ve",
    "zy",
)


def text(number: int) -> str:
    """Return about 1,400 characters that no other number gives: two chunks, a dozen sentences."""
    chance = random.Random(number)
    sentences = (" ".join(chance.choices(WORDS, k=18)).capitalize() + f" {chance.random():.6f}." for _ in range(12))
    return f"Report {number}. " + " ".join(sentences)


def table(rows: int) -> bytes:
    """Return a CSV whose rows are some 80 bytes each."""
    lines = ["id,day,place,measured by,level,remark"]
    for number in range(rows):
        chance = random.Random(number)
        day = f"20{number % 30:02d}-{1 + number % 12:02d}-{1 + number % 28:02d}"
        remark = " ".join(chance.choices(WORDS, k=5))
        lines.append(
            f"{number},{day},{chance.choice(WORDS)} {number % 97},person {number % 41},{number % 900},{remark}"
        )
    return "\n".join(lines).encode()


def word(name: str, number: int) -> str:
    """Return a word that stands nowhere else."""
    chance = random.Random(f"{name} {number}")
    return "".join(chance.choices(SYLLABLES, k=6)) + f"{number}"


@dataclass
class Tenant:
    """A workspace's client, with a source of each kind."""

    workspace: str
    client: httpx.AsyncClient
    files: str
    hook_path: str
    secret: str

    async def insist(self, send: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        """Send until it is taken, as long as the gateway asks to wait. Raises RuntimeError for a refusal."""
        while (answer := await send()).status_code == TOO_MANY:  # noqa: ASYNC110 - the gateway says how long
            await asyncio.sleep(float(answer.headers["retry-after"]))
        if answer.status_code != ACCEPTED:
            raise RuntimeError(f"{answer.request.url.path}: {answer.status_code} {answer.text[:300]}")
        return answer

    async def upload(self, number: int, content: str) -> UUID:
        """Upload a document; return its id."""
        body = {"text": content, "external_id": f"document-{number}", "source": self.files}
        answer = await self.insist(lambda: self.client.post("/v1/documents", json=body))
        return UUID(answer.json()["document_id"])

    async def upload_table(self, content: bytes) -> None:
        """Upload a file."""
        file = {"file": ("levels.csv", content, "text/csv")}
        form = {"source": self.files, "external_id": "levels.csv"}
        await self.insist(lambda: self.client.post("/v1/documents", data=form, files=file))

    async def webhook(self, name: str, content: str) -> None:
        """Send a signed webhook."""
        body = json.dumps({"id": name, "text": content}).encode()
        await self.insist(
            lambda: self.client.post(self.hook_path, content=body, headers=signed(name, body, self.secret))
        )

    async def finds(self, wanted: str) -> bool:
        """Whether a passage with the word `wanted` is found."""
        answer = await self.client.post("/v1/search", json={"query": wanted, "top_k": 5})
        answer.raise_for_status()
        return any(wanted in passage["text"] for passage in answer.json()["passages"])

    async def until(self, wanted: str, *, found: bool) -> None:
        """Search until `wanted` is found, or is not. Raises TimeoutError."""
        async with asyncio.timeout(GIVEN_UP_S):
            while await self.finds(wanted) is not found:  # noqa: ASYNC110 - a search is all that a user has
                await asyncio.sleep(LOOK_S)
