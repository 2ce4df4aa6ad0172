"""What is published of a delivery."""

from collections.abc import Set
from uuid import UUID

from infra.kafka.worker import Delivery, Outgoing
from schemas.documents import DocumentVersion
from schemas.event import now
from schemas.raw import RawEvent
from schemas.receipts import Outcome as ReceiptOutcome
from schemas.receipts import Receipt
from topics.catalogue import DOCUMENTS, RECEIPTS
from workers.normalizer.inbox import CONSUMER
from workers.normalizer.normalize import Outcome
from workers.normalizer.sources.draft import NotADocument

_TOLD = 10
"""Documents of one event whose missing ends its receipt names; each document says it of itself too."""


def announce(delivery: Delivery[RawEvent], outcome: Outcome, superseded: Set[UUID]) -> list[Outgoing]:
    """Return the document versions of a delivery, tombstones behind the deletions, and its receipt last.

    Of the documents in `superseded` a newer state was published before: only the receipt names them.
    """
    if isinstance(outcome, NotADocument):
        return [_receipt(delivery, "not_a_document", detail=outcome.detail)]
    published = tuple(version for version in outcome if version.document_id not in superseded)
    outgoing: list[Outgoing] = []
    for version in published:
        part = str(version.document_id)
        outgoing.append(Outgoing(DOCUMENTS, version, cause=delivery, part=part))
        if version.operation == "delete":
            outgoing.append(Outgoing(DOCUMENTS, version, cause=delivery, part=f"{part}/tombstone", tombstone=True))
    details = [f"of {len(superseded)} documents a newer state was published before"] if superseded else []
    details += [
        f"of document {version.document_id} the last {version.left_out} of {len(version.text)} characters are not"
        f" indexed: {len(version.chunks)} chunks are the most"
        for version in published
        if version.left_out
    ][:_TOLD]
    return [*outgoing, _receipt(delivery, "applied", published, superseded, "; ".join(details))]


def announce_duplicate(delivery: Delivery[RawEvent]) -> list[Outgoing]:
    """Return the receipt of a delivery that was seen before at another place: nothing else may come of it."""
    return [_receipt(delivery, "duplicate", detail=f"delivered again at {delivery.origin}")]


def _receipt(
    delivery: Delivery[RawEvent],
    outcome: ReceiptOutcome,
    versions: tuple[DocumentVersion, ...] = (),
    superseded: Set[UUID] = frozenset(),
    detail: str = "",
) -> Outgoing:
    raw = delivery.body
    receipt = Receipt(
        workspace=raw.workspace,
        sink=CONSUMER,
        event_id=raw.event_id,
        source=raw.source,
        outcome=outcome,
        documents=tuple(version.document_id for version in versions),
        superseded=tuple(sorted(superseded)),
        parts=sum(len(version.chunks) for version in versions),
        detail=detail,
        at=now(),
    )
    return Outgoing(RECEIPTS, receipt, cause=delivery)
