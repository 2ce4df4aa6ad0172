"""Asks by HTTP for a sample of each workspace's marks: the newest state is found; old, deleted and others' ones not."""

import random
from collections.abc import Mapping
from itertools import chain
from typing import Any
from uuid import UUID

import httpx
import stamina

from bench.kill.findings import Fault, Findings
from bench.kill.model import World
from bench.kill.senders import AGAIN, NOT_FOUND, Account
from bench.kill.stream import Trait

SINK = "search"
FOUND = 20
FOREIGN = 5
SPECIAL = 10
"""Further marks of what came back, of what went with its container, and of what was replaced under an equal version."""
"""Marks and documents of other workspaces that each workspace asks for."""


class Searching:
    """Searches of all workspaces, each with its own key; what is shown wrongly becomes a finding."""

    def __init__(
        self, client: httpx.AsyncClient, accounts: Mapping[str, Account], world: World, findings: Findings
    ) -> None:
        self._client = client
        self._accounts = accounts
        self._world = world
        self._findings = findings

    async def compare(self, seed: int, sample: int) -> None:
        """Ask in each workspace for up to `sample` marks of its documents, and for marks that must find nothing."""
        chance = random.Random(f"search {seed}")
        for workspace in self._accounts:
            live = {each.step.canary: each.document_id for each in self._world.live(workspace)}
            foreign = {
                each.step.canary: each.document_id
                for other in self._accounts
                if other != workspace
                for each in self._world.live(other)
            }
            back = [canary for canary, document_id in live.items() if self._is_back(document_id)]
            self._findings.checked["searches for what came back"] += len(back[:SPECIAL])
            for canary in (*_some(chance, list(live), sample), *_some(chance, back, SPECIAL)):
                if live[canary] not in await self._shown(workspace, canary):
                    self._findings.add(Fault.LOST, SINK, f"{canary} does not find {live[canary]} in {workspace}")
            gone = self._gone(workspace, live)
            taken = [canary for canary in gone if self._world.documents[self._world.canaries[canary]].taken]
            equal = [canary for canary in gone if self._is_equal(canary)]
            self._findings.checked["searches for what went with its container"] += len(taken[:SPECIAL])
            unwanted = (_some(chance, gone, sample // 2), _some(chance, taken, SPECIAL), _some(chance, equal, SPECIAL))
            for canary in (*chain.from_iterable(unwanted), *_some(chance, list(foreign), FOREIGN)):
                await self._shown(workspace, canary)
            for canary in _some(chance, list(foreign), FOREIGN):
                await self._refused(workspace, foreign[canary])

    def _gone(self, workspace: str, live: Mapping[str, UUID]) -> list[str]:
        """Return the marks of states of this workspace that are replaced or deleted."""
        documents = self._world.documents
        return [
            canary
            for canary, document_id in self._world.canaries.items()
            if canary not in live and documents[document_id].workspace == workspace
        ]

    def _is_back(self, document_id: UUID) -> bool:
        return self._world.documents[document_id].step.trait in {Trait.CHILD_BACK, Trait.CONTAINER_BACK}

    def _is_equal(self, canary: str) -> bool:
        document = self._world.documents[self._world.canaries[canary]]
        return document.step.trait in {Trait.EQUAL_VERSION, Trait.EQUAL_DATE, Trait.WAY_BACK}

    async def _shown(self, workspace: str, canary: str) -> set[UUID]:
        """Return the documents found for a mark; none of them may be foreign, deleted or of an old state."""
        self._findings.checked["searches"] += 1
        found = set()
        for passage in await self._search(workspace, f"Which state bears the mark {canary}?"):
            document_id = UUID(passage["document_id"])
            found.add(document_id)
            document = self._world.documents.get(document_id)
            if document is None or document.workspace != workspace:
                self._findings.add(Fault.CROSSED, SINK, f"{workspace} was shown document {document_id} for {canary}")
            elif document.deleted:
                self._findings.add(Fault.STALE, SINK, f"{workspace} was shown deleted document {document_id}")
            elif passage["text"] != document.text[passage["start"] : passage["end"]]:
                self._findings.add(Fault.STALE, SINK, f"{workspace} was shown an old text of document {document_id}")
        return found

    async def _refused(self, workspace: str, foreign: UUID) -> None:
        """Ask for another workspace's document by its id."""
        self._findings.checked["foreign reads"] += 1
        answer = await self._answer("GET", f"/v1/documents/{foreign}", workspace)
        if answer.status_code != NOT_FOUND:
            self._findings.add(Fault.CROSSED, SINK, f"{workspace} reads document {foreign}: {answer.status_code}")

    async def _search(self, workspace: str, query: str) -> list[dict[str, Any]]:
        answer = await self._answer("POST", "/v1/search", workspace, {"query": query, "top_k": FOUND})
        answer.raise_for_status()
        passages: list[dict[str, Any]] = answer.json()["passages"]
        return passages

    async def _answer(
        self, method: str, path: str, workspace: str, body: dict[str, object] | None = None
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {self._accounts[workspace].key}"}
        async for attempt in stamina.retry_context(on=httpx.HTTPError, attempts=20, timeout=120, wait_max=5):
            with attempt:
                answer = await self._client.request(method, path, json=body, headers=headers)
                if answer.status_code in AGAIN:
                    answer.raise_for_status()
        return answer


def _some(chance: random.Random, every: list[str], count: int) -> list[str]:
    return chance.sample(every, min(count, len(every)))
