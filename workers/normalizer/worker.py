"""Turns accepted deliveries into clean documents with chunks.

consumes   raw.events  key: workspace/source/subject
publishes  documents   one per document version that is not superseded; after a deletion a tombstone
           receipts    one per event: its documents, that it is none, or that it was seen before
"""

from collections.abc import Iterable, Sequence

from infra.kafka.room import Limits
from infra.kafka.worker import Delivery, Micro, Outgoing, Worker
from infra.queueing.shares import Deletions
from schemas.raw import RawEvent
from topics.catalogue import DOCUMENTS, RAW_EVENTS, RECEIPTS
from workers.normalizer.announce import announce, announce_duplicate
from workers.normalizer.gate import superseded
from workers.normalizer.inbox import first_seen
from workers.normalizer.read import Tools, open_tools, read_all
from workers.normalizer.sources.draft import NotADocument

HELD = Limits(records=8_000, bytes=24 * 1024 * 1024)
"""A flood of so many deliveries is read past, to what the other workspaces sent behind it."""

worker = Worker("normalizer", tools=open_tools, publishes=(DOCUMENTS, RECEIPTS), limits=HELD)


@worker.handles(RAW_EVENTS, batch=Micro(records=64, deletions=Deletions.OVERTAKE))
async def normalise(deliveries: Sequence[Delivery[RawEvent]], tools: Tools) -> Iterable[Outgoing]:
    """Read every delivery that is new and say what became of each."""
    new = await first_seen(tools.pool, deliveries)
    outcomes = await read_all([delivery for delivery, fresh in zip(deliveries, new, strict=True) if fresh], tools)
    # Behind the reading: what cannot be read must not hold back what is older.
    behind = await superseded(tools.pool, [() if isinstance(each, NotADocument) else each for each in outcomes])
    said = zip(outcomes, behind, strict=True)
    outgoing: list[Outgoing] = []
    for delivery, fresh in zip(deliveries, new, strict=True):
        outgoing += announce(delivery, *next(said)) if fresh else announce_duplicate(delivery)
    return outgoing
