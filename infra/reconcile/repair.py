"""Publishes again what sinks have lost, through the same gates that everything passes.

The log says what is true. Where it holds the document's newest version, that record is published again, bytes
unchanged; where it has forgotten a deletion (compaction drops those), the deletion is made anew from the ledger; where
it holds only an older version, the raw event is published again. Nothing is written into a sink but for one thing: a
head that claims more than its index holds is removed first, or the gate would take the document for complete.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from infra.kafka.codec import Encoded, encode, new_envelope
from infra.kafka.redrive import GoneError, NotRedrivableError, RecordReader, Sends, again
from infra.objects.store import ObjectStore
from infra.postgres.corpus import deletable
from infra.reconcile.expected import raw_place
from infra.reconcile.log import DocumentLog, Logged
from infra.reconcile.states import Finding, Known, Problem, Sink
from infra.reconcile.vectors import VectorsHeld
from schemas.documents import DocumentVersion
from schemas.event import now
from schemas.ids import deterministic_id
from topics.catalogue import DOCUMENTS, RAW_EVENTS

if TYPE_CHECKING:
    import asyncpg

SOURCE = "/reconcile"
ROUNDS = 5
"""How often to look whether a newer version has come between ours and the end of the log."""

Action = Literal["republished", "deletion republished", "raw event republished", "waiting", "left"]
Reached = Mapping[Sink, Mapping[int, int]]
"""By sink: the next offset of each partition of `documents` that its worker will read."""


@dataclass
class Damaged:
    """A document and every sink in which it differs."""

    known: Known
    findings: list[Finding] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Its key in the log."""
        return f"{self.known.workspace}/{self.known.document_id}"

    @property
    def version(self) -> int:
        """The newest version known to anyone."""
        return max([self.known.version or 0, *(finding.version or 0 for finding in self.findings)])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done about a document, or why nothing."""

    action: Action
    cause: str = ""


class Repair:
    """Repairs damaged documents. Raises Transient: what was published until then stays, and a second run goes on."""

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        sends: Sends,
        records: RecordReader,
        objects: ObjectStore,
        log: DocumentLog,
        *,
        vectors: VectorsHeld,
        dry_run: bool,
        delete_extra: bool,
    ) -> None:
        self._pool = pool
        self._sends = sends
        self._records = records
        self._objects = objects
        self._log = log
        self._vectors = vectors
        self._dry_run = dry_run
        self._delete_extra = delete_extra

    async def repair(self, damaged: Sequence[Damaged], reached: Reached) -> AsyncIterator[tuple[Damaged, Outcome]]:
        """Yield what became of each document."""
        logged, ends = await self._log.find({each.key for each in damaged})
        for each in damaged:
            yield each, await self._one(each, logged.get(each.key), reached)
        if not self._dry_run:
            await self._keep_newest(logged, ends)

    async def _one(self, damaged: Damaged, logged: Logged | None, reached: Reached) -> Outcome:
        extra = any(finding.problem is Problem.EXTRA for finding in damaged.findings)
        if logged is not None and logged.version >= damaged.version:
            # Not lost but on its way: the worker of every sink that differs has yet to read it.
            if all(reached[finding.sink].get(logged.partition, 0) <= logged.offset for finding in damaged.findings):
                return Outcome("waiting")
            await self._forget(damaged)
            return await self._again(logged)
        if extra and not self._delete_extra:
            return Outcome("left", "neither ledger nor log knows it: --delete-extra deletes it")
        if damaged.known.deleted or extra:
            return await self._delete(damaged)
        return await self._raw(damaged)

    async def _forget(self, damaged: Damaged) -> None:
        for finding in damaged.findings:
            if finding.sink is Sink.VECTORS and finding.problem is Problem.INCOMPLETE and not self._dry_run:
                await self._vectors.forget_head(finding.workspace, finding.document_id, finding.version or 0)

    async def _again(self, logged: Logged) -> Outcome:
        try:
            record = again(await self._records.read(DOCUMENTS, logged.partition, logged.offset))
        except (GoneError, NotRedrivableError) as error:
            return Outcome("left", f"the log lost it while it was read: {error}")
        tombstone = [Encoded(record.topic, record.key, None, record.headers)] if logged.deleted else []
        await self._send([record, *tombstone])
        return Outcome("deletion republished" if logged.deleted else "republished")

    async def _delete(self, damaged: Damaged) -> Outcome:
        version = await self._deletion(damaged)
        envelope = new_envelope(version, id=version.event_id, source=SOURCE, subject=damaged.key)
        records = [
            await encode(DOCUMENTS, version, envelope, self._objects, tombstone=tombstone)
            for tombstone in (False, True)
        ]
        await self._send(records)
        return Outcome("deletion republished")

    async def _deletion(self, damaged: Damaged) -> DocumentVersion:
        known = damaged.known
        named = await deletable(self._pool, known.workspace, known.document_id)
        event = known.event_id or deterministic_id("reconcile", known.workspace, str(known.document_id))
        return DocumentVersion(
            workspace=known.workspace,
            document_id=known.document_id,
            event_id=event,
            source=known.source or "unknown",
            connector=named.connector if named else "unknown",
            external_id=named.external_id if named else "",
            operation="delete",
            version=max(damaged.version, 1),
            received_at=now(),
        )

    async def _raw(self, damaged: Damaged) -> Outcome:
        known = damaged.known
        place = await raw_place(self._pool, known.workspace, known.event_id) if known.event_id else None
        if place is None:
            return Outcome("left", "not in the log, and its event is not known")
        try:
            record = again(await self._records.read(RAW_EVENTS, *place))
        except (GoneError, NotRedrivableError) as error:
            return Outcome("left", f"not in the log, and its raw event is gone: {error}")
        await self._forget(damaged)
        await self._send([record])
        return Outcome("raw event republished")

    async def _send(self, records: Sequence[Encoded]) -> None:
        if not self._dry_run:
            await self._sends.send(records)

    async def _keep_newest(self, logged: Mapping[str, Logged], ends: Mapping[int, int]) -> None:
        """Publish once more what was overtaken while it was published: compaction keeps the last record of a key,
        and behind a newer version that must not be ours.
        """
        best = dict(logged)
        for _ in range(ROUNDS):
            since, ends = await self._log.find(best.keys(), ends)
            overtaken = [newer for key, newer in since.items() if newer.last != newer.offset]
            for newer in overtaken:
                await self._again(newer)
            if not overtaken:
                return
