"""Reads a batch of deliveries side by side."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from uuid import UUID

import asyncpg

from infra.errors import Permanent
from infra.kafka.worker import Delivery
from infra.postgres.pool import open_pool
from infra.queueing.slots import Meters, Slots
from infra.settings import PostgresSettings, load
from infra.telemetry.metrics import Metric
from schemas.raw import RawEvent
from workers.normalizer.flights import Flights
from workers.normalizer.normalize import Outcome, normalize
from workers.normalizer.sandbox import Sandbox
from workers.normalizer.settings import NormalizerSettings
from workers.normalizer.sources.registry import mapping_of

_THREADS = 4
"""Deliveries that are mapped and cut at once. The chunker works outside the interpreter lock, the rest does not."""
_PARSING, _CUTTING = (
    Meters(Metric.TURN_WAITED_SECONDS, Metric.TURN_QUEUE_DEPTH, Metric.TURN_ESTIMATED_WAIT_SECONDS, (work,))
    for work in ("parse", "cut")
)
_KEPT = 256


@dataclass
class Tools:
    """What the handler works with."""

    pool: "asyncpg.Pool[asyncpg.Record]"
    sandbox: Sandbox
    settings: NormalizerSettings
    read: dict[tuple[UUID, str], Outcome | Permanent] = field(default_factory=dict)
    """What is known of a batch in which one delivery failed: the runtime hands its deliveries over again one by one,
    and without this a document that hung its parser would hang it twice, and its neighbours be parsed twice."""
    flights: Flights = field(default_factory=Flights)

    def __post_init__(self) -> None:
        # One workspace has all places but one: its slowest documents leave that to the others.
        processes, weights = self.settings.parse_processes, self.settings.weights
        self.children = Slots(processes, _PARSING, weights, each=max(1, processes - 1))
        self.threads = Slots(_THREADS, _CUTTING, weights, each=_THREADS - 1)


@asynccontextmanager
async def open_tools() -> AsyncIterator[Tools]:
    """Open the inbox and the sandbox; both connect or start with first use."""
    settings = load(NormalizerSettings)
    sandbox = Sandbox(settings)
    async with open_pool(load(PostgresSettings)) as pool:
        try:
            yield Tools(pool, sandbox, settings)
        finally:
            await sandbox.close()


async def read_all(deliveries: Sequence[Delivery[RawEvent]], tools: Tools) -> list[Outcome]:
    """Return what each delivery says, in their order. Raises Permanent if one of them can never be read."""
    outcomes = await asyncio.gather(*(_read(delivery, tools) for delivery in deliveries))
    refused = [outcome for outcome in outcomes if isinstance(outcome, Permanent)]
    if not refused:
        return [outcome for outcome in outcomes if not isinstance(outcome, Permanent)]
    if len(deliveries) > 1:
        if len(tools.read) > _KEPT:
            # Left by partitions that moved to another process meanwhile.
            tools.read.clear()
        tools.read |= {_place(each): outcome for each, outcome in zip(deliveries, outcomes, strict=True)}
    raise refused[0]


async def _read(delivery: Delivery[RawEvent], tools: Tools) -> Outcome | Permanent:
    known = tools.read.pop(_place(delivery), None)
    if known is not None:
        return known
    raw, limits = delivery.body, tools.settings.limits
    try:
        job = mapping_of(raw.connector).job(raw, limits) if raw.operation == "put" else None
        parsed = None
        if job is not None:
            async with tools.children.slot(raw.workspace, monotonic()):
                parsed = await tools.sandbox.parse(job)
        async with tools.threads.slot(raw.workspace, monotonic()):
            return await asyncio.to_thread(
                normalize,
                raw,
                delivery.origin.offset,
                parsed,
                limits,
                size=tools.settings.chunk_chars,
                overlap=tools.settings.chunk_overlap,
                most=tools.settings.chunks_most,
            )
    except Permanent as error:
        return error


def _place(delivery: Delivery[RawEvent]) -> tuple[UUID, str]:
    return delivery.body.event_id, str(delivery.origin)
