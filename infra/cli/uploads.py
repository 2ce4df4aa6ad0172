"""Uploads of an ingestion: which are needed, a few at a time, and what became of each."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from infra.cli.events import read
from infra.cli.files import Found, Left, sha256_of
from infra.cli.gateway import Gateway
from infra.cli.terminal import CommandError, Status
from infra.local.together import first

Outcome = Literal["accepted", "searchable", "unchanged", "failed", "skipped"]

FINDABLE = frozenset({"searchable", "complete"})
WATCHED_AT_ONCE = 16
"""Events asked for in one round, oldest first: they finish about in the order in which they were accepted."""

EVERY_SECONDS = 0.25
PAGE = 500


@dataclass(frozen=True, slots=True)
class Job:
    """A file and the source that it belongs to."""

    source_id: str
    file: Found


@dataclass(frozen=True, slots=True)
class Item:
    """What became of one file."""

    name: str
    outcome: Outcome
    reason: str = ""
    event_id: str = ""
    document_id: str = ""


@dataclass
class Report:
    """What became of all files; `pending` are accepted and not yet seen to be searchable."""

    left: Sequence[Left] = ()
    items: list[Item] = field(default_factory=list)
    pending: list[Item] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.items += [Item(each.name, "failed" if each.failed else "skipped", each.reason) for each in self.left]

    @property
    def failed(self) -> bool:
        """Whether any file failed."""
        return bool(self.count("failed"))

    def count(self, outcome: Outcome) -> int:
        """Return how many files have this outcome."""
        return self.counts()[outcome]

    def counts(self) -> Counter[str]:
        """Return the number of files by outcome."""
        return Counter(item.outcome for item in (*self.items, *self.pending))

    def remarks(self) -> Iterator[tuple[str, str, str]]:
        """Yield name, outcome and reason of every file that is worth a line at the end."""
        for item in self.items:
            if item.outcome in {"failed", "skipped"}:
                yield item.name, item.outcome, item.reason

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        fields = ("name", "outcome", "reason", "event_id", "document_id")
        files = [{name: getattr(item, name) for name in fields} for item in (*self.items, *self.pending)]
        return {"counts": self.counts(), "files": files}


class Uploads:
    """Sends files and watches their events."""

    def __init__(self, gateway: Gateway, report: Report, *, concurrency: int, force: bool) -> None:
        self._gateway = gateway
        self._report = report
        self._slots = asyncio.Semaphore(concurrency)
        self._force = force

    async def send(self, jobs: Sequence[Job], done: Callable[[], None]) -> None:
        """Upload what has changed; `done` is called once per file. Raises CommandError if the gateway is away."""
        known = {source: await self._known(source) for source in {job.source_id for job in jobs}}
        try:
            async with asyncio.TaskGroup() as group:
                for job in jobs:
                    group.create_task(self._one(job, known[job.source_id], done))
        except BaseExceptionGroup as faults:
            # Not `except*`: what is raised there is wrapped into a group again by some versions of Python (3.11.2).
            raise first(faults) from None

    async def watch(self, within: float, done: Callable[[], None]) -> None:
        """Ask for the pending events until all are settled, or fail the rest after `within` seconds."""
        try:
            async with asyncio.timeout(within):
                while self._report.pending:
                    if not await self._round(done):
                        await asyncio.sleep(EVERY_SECONDS)
        except TimeoutError:
            late = [_settled(item, "failed", f"not searchable after {within:.0f} s") for item in self._report.pending]
            self._report.items += late
            self._report.pending.clear()

    async def _known(self, source_id: str) -> dict[str, str]:
        """Return external id to sha256 of what the server holds of a source."""
        known: dict[str, str] = {}
        cursor: str | None = None
        while not self._force:
            page = await self._gateway.get("/v1/documents", source=source_id, limit=PAGE, cursor=cursor)
            for document in page["documents"]:
                known[document["external_id"]] = (document.get("metadata") or {}).get("sha256", "")
            cursor = page["next"]
            if cursor is None:
                break
        return known

    async def _one(self, job: Job, known: dict[str, str], done: Callable[[], None]) -> None:
        async with self._slots:
            name = job.file.external_id
            try:
                digest = await asyncio.to_thread(sha256_of, job.file.path)
                if known.get(name) == digest:
                    self._report.items.append(Item(name, "unchanged"))
                else:
                    self._report.pending.append(await self._upload(job, digest))
            except OSError as error:
                self._report.items.append(Item(name, "failed", error.strerror or str(error)))
            except CommandError as error:
                if error.status is Status.UNREACHABLE or error.next_step:
                    raise  # not about this file: every other one would fail alike
                self._report.items.append(Item(name, "failed", f"{error.code}: {error.message}"))
            done()

    async def _upload(self, job: Job, digest: str) -> Item:
        fields = {
            "external_id": job.file.external_id,
            "source": job.source_id,
            "metadata": orjson.dumps({"sha256": digest, "path": job.file.external_id}).decode(),
        }
        answer = await self._gateway.upload(job.file.path, fields)
        return Item(job.file.external_id, "accepted", "", answer["event_id"], answer["document_id"])

    async def _round(self, done: Callable[[], None]) -> int:
        watched = self._report.pending[:WATCHED_AT_ONCE]
        events = await asyncio.gather(*(self._account(item.event_id) for item in watched))
        settled = [item for item in map(_judge, watched, events) if item is not None]
        names = {item.event_id for item in settled}
        self._report.pending = [item for item in self._report.pending if item.event_id not in names]
        self._report.items += settled
        for _ in settled:
            done()
        return len(settled)

    async def _account(self, event_id: str) -> dict[str, Any]:
        try:
            return await read(self._gateway, event_id)
        except CommandError as error:
            if error.status is Status.FAILED:
                return {"state": "accepted"}  # the ledger has not read it yet
            raise


def _judge(item: Item, event: dict[str, Any]) -> Item | None:
    state = event["state"]
    if state in FINDABLE:
        return _settled(item, "searchable", "")
    if state == "dead_lettered":
        letters = "; ".join(f"{letter['reason']}: {letter.get('detail', '')}" for letter in event["dead_letters"])
        return _settled(item, "failed", letters or "dead-lettered")
    if state == "not_a_document":
        detail = next((stage.get("detail") for stage in event.get("stages", []) if stage.get("detail")), "")
        return _settled(item, "skipped", f"not a document{': ' if detail else ''}{detail}")
    return None


def _settled(item: Item, outcome: Outcome, reason: str) -> Item:
    return Item(item.name, outcome, reason, item.event_id, item.document_id)
