"""What is published of a delivery."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from infra.kafka.worker import Delivery, Outgoing
from schemas.documents import DocumentVersion
from schemas.event import now
from schemas.raw import RawEvent
from schemas.receipts import Outcome as ReceiptOutcome
from schemas.receipts import Receipt
from topics.catalogue import DOCUMENTS, RECEIPTS
from workers.normalizer.decide import Verdict
from workers.normalizer.gate import Passed
from workers.normalizer.inbox import CONSUMER
from workers.normalizer.sources.draft import NotADocument

MAX_TOLD = 1_000
"""Documents that a removal deleted with it and that its receipt names; each has receipts of every sink all the same."""

_LEFT_OUT = {
    Verdict.SUPERSEDED: "of {} documents a newer state was published before",
    Verdict.UNCHANGED: "{} documents are as they were",
    Verdict.NOTED: "{} are there, without a text of their own",
    Verdict.HIDDEN: "{} documents stand in something that is removed",
}


@dataclass
class Said:
    """What becomes of one delivery: the gate's word on each of its documents, and what it deleted with them."""

    delivery: Delivery[RawEvent]
    passed: Sequence[Passed] = ()
    silent: NotADocument | None = None
    contents: list[UUID] = field(default_factory=list)
    more: int = 0
    """Contents that are not in `contents`."""

    def took(self, deletions: Iterable[DocumentVersion]) -> None:
        """Note contents that were deleted with it."""
        ids = [deletion.document_id for deletion in deletions]
        room = MAX_TOLD - len(self.contents)
        self.contents += ids[:room]
        self.more += len(ids[room:])


def documents(said: Said) -> list[Outgoing]:
    """Return the document versions of a delivery, tombstones behind the deletions."""
    return [each for version in _published(said) for each in announced(version, said.delivery)]


def announced(version: DocumentVersion, delivery: Delivery[RawEvent]) -> list[Outgoing]:
    """Return a document version, with a tombstone behind a deletion."""
    part = str(version.document_id)
    outgoing = [Outgoing(DOCUMENTS, version, cause=delivery, part=part)]
    if version.operation == "delete":
        outgoing.append(Outgoing(DOCUMENTS, version, cause=delivery, part=f"{part}/tombstone", tombstone=True))
    return outgoing


def receipt(said: Said) -> Outgoing:
    """Return the receipt of a delivery, which is published last."""
    if said.silent is not None:
        return _receipt(said.delivery, "not_a_document", detail=said.silent.detail)
    published = _published(said)
    named = {version.document_id for version in published}
    left = sorted({each.document_id for each in said.passed if each.verdict is not Verdict.NOTED} - named)
    counts = Counter(each.verdict for each in said.passed if each.document_id not in named)
    details = [text.format(counts[verdict]) for verdict, text in _LEFT_OUT.items() if counts[verdict]]
    if said.contents:
        details.append(f"{len(said.contents) + said.more} documents that stood in it went with it")
    return _receipt(
        said.delivery,
        "applied",
        documents=tuple(dict.fromkeys([*(version.document_id for version in published), *said.contents])),
        superseded=tuple(left),
        parts=sum(len(version.chunks) for version in published),
        detail="; ".join(details),
    )


def announce_duplicate(delivery: Delivery[RawEvent]) -> Outgoing:
    """Return the receipt of a delivery that was seen before at another place: nothing else may come of it."""
    return _receipt(delivery, "duplicate", detail=f"delivered again at {delivery.origin}")


def _published(said: Said) -> list[DocumentVersion]:
    return [version for each in said.passed if (version := _version(each)) is not None]


def _version(passed: Passed) -> DocumentVersion | None:
    """Return what is published of a state: itself, a deletion if it is hidden from sinks that hold it, or nothing."""
    told = passed.state.version
    if passed.shown:
        return told if told.version == passed.version else told.model_copy(update={"version": passed.version})
    if passed.verdict is Verdict.HIDDEN and passed.version:
        return DocumentVersion(
            operation="delete",
            version=passed.version,
            workspace=told.workspace,
            document_id=told.document_id,
            event_id=told.event_id,
            source=told.source,
            connector=told.connector,
            external_id=told.external_id,
            kind=told.kind,
            received_at=told.received_at,
        )
    return None


def _receipt(
    delivery: Delivery[RawEvent],
    outcome: ReceiptOutcome,
    *,
    documents: tuple[UUID, ...] = (),
    superseded: tuple[UUID, ...] = (),
    parts: int = 0,
    detail: str = "",
) -> Outgoing:
    raw = delivery.body
    told = Receipt(
        workspace=raw.workspace,
        sink=CONSUMER,
        event_id=raw.event_id,
        source=raw.source,
        outcome=outcome,
        documents=documents,
        superseded=superseded,
        parts=parts,
        detail=detail,
        at=now(),
    )
    return Outgoing(RECEIPTS, told, cause=delivery)
