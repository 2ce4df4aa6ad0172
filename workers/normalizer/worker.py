"""Turns accepted deliveries into clean documents with chunks.

consumes   raw.events  key: workspace/source/subject
publishes  documents   one per document version that is not left out; after a deletion a tombstone
           receipts    one per event: its documents, that it is none, or that it was seen before
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from uuid import UUID

from infra.kafka.room import Limits
from infra.kafka.worker import Delivery, Micro, Outgoing, Slices, Worker
from infra.queueing.shares import Deletions
from schemas.raw import RawEvent
from topics.catalogue import DOCUMENTS, RAW_EVENTS, RECEIPTS
from workers.normalizer.announce import Said, announce_duplicate, announced, documents, receipt
from workers.normalizer.contents import Sweep, hide, pages
from workers.normalizer.flights import Flight
from workers.normalizer.gate import let_through
from workers.normalizer.inbox import first_seen
from workers.normalizer.normalize import Outcome
from workers.normalizer.read import Tools, open_tools, read_all
from workers.normalizer.sources.draft import NotADocument

HELD = Limits(records=8_000, bytes=24 * 1024 * 1024)
"""A flood of so many deliveries is read past, to what the other workspaces sent behind it."""

worker = Worker("normalizer", tools=open_tools, publishes=(DOCUMENTS, RECEIPTS), limits=HELD)

Read = tuple[Delivery[RawEvent], Outcome]


@worker.handles(RAW_EVENTS, batch=Micro(records=64, deletions=Deletions.OVERTAKE))
async def normalise(deliveries: Sequence[Delivery[RawEvent]], tools: Tools) -> Slices:
    """Read every delivery that is new and say what became of each."""
    new = await first_seen(tools.pool, deliveries)
    fresh = [delivery for delivery, is_new in zip(deliveries, new, strict=True) if is_new]
    repeated = [announce_duplicate(delivery) for delivery, is_new in zip(deliveries, new, strict=True) if not is_new]
    # Behind the reading: what cannot be read must not hold back what is older.
    outcomes = zip(fresh, await read_all(fresh, tools), strict=True)
    return _in_turn(_cut(list(outcomes)), repeated, tools)


def _cut(outcomes: Sequence[Read]) -> list[list[Read]]:
    """Cut behind each removal that takes contents along, which must be gone before it may be taken back.

    Cut also before a further state of what stands in something: whether the one before was hidden by a removed thing
    decides what this one is, and it may stand elsewhere by now.
    """
    parts: list[list[Read]] = [[]]
    inside: set[UUID] = set()
    for delivery, outcome in outcomes:
        states = () if isinstance(outcome, NotADocument) else outcome
        if any(state.version.document_id in inside for state in states):
            parts.append([])
            inside.clear()
        parts[-1].append((delivery, outcome))
        inside.update(state.version.document_id for state in states if state.version.parents)
        if any(state.removes for state in states):
            parts.append([])
            inside.clear()
    return [part for part in parts if part] or [[]]


async def _say(outcomes: Sequence[Read], tools: Tools, flight: Flight) -> tuple[list[Said], list[list[Sweep]]]:
    places = [(delivery.origin.partition, delivery.origin.offset) for delivery, _ in outcomes]
    states = [() if isinstance(outcome, NotADocument) else outcome for _, outcome in outcomes]
    passed = await let_through(tools.pool, list(zip(places, states, strict=True)))
    flight.take(each.document_id for event in passed for each in event if each.spoken)
    kept, sweeps = await hide(tools.pool, passed)
    silent = [outcome if isinstance(outcome, NotADocument) else None for _, outcome in outcomes]
    told = zip(outcomes, kept, silent, strict=True)
    return [Said(delivery, spoken, nothing) for (delivery, _), spoken, nothing in told], sweeps


async def _in_turn(parts: Sequence[Sequence[Read]], repeated: Sequence[Outgoing], tools: Tools) -> Slices:
    """Yield the publications of each part of a batch; behind a removal those of all that goes with it."""
    for at, part in enumerate(parts, start=1):
        rest = repeated if at == len(parts) else ()
        with tools.flights.one() as flight:
            said, sweeps = await _say(part, tools, flight)
            await flight.clear()
            if not any(sweeps):
                yield [*(each for one in said for each in [*documents(one), receipt(one)]), *rest]
                continue
            yield [each for one in said for each in documents(one)]
        for one, swept in zip(said, sweeps, strict=True):
            for sweep in swept:
                async with aclosing(_swept(one, sweep, tools)) as pages_told:
                    async for told in pages_told:
                        yield told
        yield [*(receipt(one) for one in said), *rest]


async def _swept(one: Said, sweep: Sweep, tools: Tools) -> AsyncGenerator[Sequence[Outgoing], None]:
    async for deletions in pages(tools.pool, sweep, one.delivery.body):
        with tools.flights.one() as flight:
            flight.take(deletion.document_id for deletion in deletions)
            await flight.clear()
            one.took(deletions)
            yield [each for deletion in deletions for each in announced(deletion, one.delivery)]
