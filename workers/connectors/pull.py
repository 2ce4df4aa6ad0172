"""Pulls sources when they are due: fetch, publish, and only then remember."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from infra.errors import Permanent, Transient
from infra.kafka.codec import new_envelope
from infra.kafka.worker import Publish
from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, count
from schemas.event import now
from schemas.ids import event_id
from schemas.raw import RawEvent
from topics.catalogue import RAW_EVENTS
from workers.connectors import feed, store
from workers.connectors.fetch import Fetcher, FetchError
from workers.connectors.pulled import Pulled
from workers.connectors.schedule import interval_of, wait_after
from workers.connectors.settings import ConnectorsSettings
from workers.connectors.store import Due

log = logger(__name__)
ENVELOPE_SOURCE = "/connectors"
TURN = "turn"
"""Key of a source's state: how many changes of it were published. It is part of each one's name: a source that goes
back to what it said before says something new, while a pull that is repeated after a crash has the same turn."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What pulls work with."""

    pool: "asyncpg.Pool[asyncpg.Record]"
    fetcher: Fetcher
    settings: ConnectorsSettings
    chance: Callable[[], float] = random.random


PULLS = {"feed": feed.pull}
"""How each connector's sources are pulled; a connector that is not here is never pulled."""


async def pull_for_ever(tools: Tools, publish: Publish) -> None:
    """Pull what is due, wait, look again. A dependency that is down is waited for."""
    while True:
        try:
            claimed = await pull_due(tools, publish)
        except Transient as error:
            log.warning("pulls wait for a dependency", dependency=error.dependency, detail=error.detail)
            claimed = 0
        if claimed < tools.settings.at_once:
            await asyncio.sleep(tools.settings.poll_seconds)


async def pull_due(tools: Tools, publish: Publish) -> int:
    """Pull the sources that are due now, side by side; return how many there were. Raises Transient."""
    lease = timedelta(seconds=tools.settings.lease_seconds)
    due = await store.claim(tools.pool, tuple(PULLS), tools.settings.at_once, lease)
    outcomes = await asyncio.gather(*(_pull(each, tools, publish) for each in due), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            # The others are done: their state is stored. This one's lease runs out, and it is pulled again.
            raise outcome
    return len(due)


async def _pull(due: Due, tools: Tools, publish: Publish) -> None:
    interval = interval_of(due.config)
    try:
        pulled = await PULLS[due.connector](due, tools.fetcher)
        turn = int(due.state.get(TURN, 0)) + (pulled.delivery is not None)
        if pulled.delivery is not None:
            event = _event(due, pulled, turn)
            await publish(RAW_EVENTS, event, new_envelope(event, id=event.event_id, source=ENVELOPE_SOURCE))
    except FetchError as error:
        await _failed(due, tools, error.detail, error.retry_after)
    except Permanent as error:
        await _failed(due, tools, str(error), None)
    except Transient as error:
        # Not the source's fault: no growing wait, and not the rest of the lease either.
        await store.fail(tools.pool, due, str(error), timedelta(seconds=tools.settings.poll_seconds))
        raise
    else:
        # After the broker's acknowledgement: a crash in between fetches again and publishes the same event id.
        await store.succeed(tools.pool, due, pulled.state | {TURN: turn}, wait_after(interval, 0, tools.chance()))
        count(Metric.PULLS_TOTAL, due.connector, "unchanged" if pulled.delivery is None else "changed")


async def _failed(due: Due, tools: Tools, detail: str, retry_after: float | None) -> None:
    wait = wait_after(interval_of(due.config), due.failures + 1, tools.chance(), retry_after)
    log.warning("a pull failed", source=due.source_id, workspace=due.workspace, detail=detail, wait_s=wait.seconds)
    count(Metric.PULLS_TOTAL, due.connector, "failed")
    await store.fail(tools.pool, due, detail, wait)


def _event(due: Due, pulled: Pulled, turn: int) -> RawEvent:
    delivery = f"{pulled.delivery}/{turn}"
    return RawEvent(
        workspace=due.workspace,
        event_id=event_id(due.workspace, due.source_id, delivery),
        source=due.source_id,
        connector=due.connector,
        delivery=delivery,
        received_at=now(),
        content_type=pulled.content_type,
        attributes=pulled.attributes,
        body=pulled.body,
    )
