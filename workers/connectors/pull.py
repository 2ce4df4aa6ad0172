"""Pulls sources when they are due: fetch, publish, and only then remember."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from infra.ending import end
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


class Pulls:
    """The pulls at work: `at_once` of them, of which one workspace has all but one, so that slow servers hold up others
    only of their own workspace.
    """

    def __init__(self, tools: Tools, publish: Publish) -> None:
        self._tools = tools
        self._publish = publish
        self._at_work: dict[asyncio.Task[None], Due] = {}

    @property
    def full(self) -> bool:
        """Whether no more can begin now."""
        return len(self._at_work) >= self._tools.settings.at_once

    async def begin(self) -> int:
        """Begin pulls of sources that are due, as many as there is room for; return how many. Raises Transient."""
        settings = self._tools.settings
        if self.full:
            return 0
        lease, at_work = timedelta(seconds=settings.lease_seconds), [due.workspace for due in self._at_work.values()]
        due = await store.claim(self._tools.pool, tuple(PULLS), lease, settings.at_once, at_work)
        for each in due:
            self._at_work[asyncio.create_task(_pull(each, self._tools, self._publish))] = each
        return len(due)

    async def settle(self, *, within_s: float | None = None, all_of_them: bool = False) -> None:
        """Wait until a pull has ended, or all have. Raises what one of them raised: its lease runs out, and it is
        pulled again.
        """
        if not self._at_work:
            return
        when = asyncio.ALL_COMPLETED if all_of_them else asyncio.FIRST_COMPLETED
        done, _ = await asyncio.wait(self._at_work, timeout=within_s, return_when=when)
        for task in done:
            del self._at_work[task]
        for task in done:
            task.result()

    async def close(self) -> None:
        """Give up what is at work."""
        await end(*self._at_work)


async def pull_for_ever(tools: Tools, publish: Publish) -> None:
    """Pull what is due, wait, look again. A dependency that is down is waited for."""
    pulls = Pulls(tools, publish)
    poll_s = tools.settings.poll_seconds
    try:
        while True:
            try:
                if not await pulls.begin() and not pulls.full:
                    await asyncio.sleep(poll_s)
                # While there is room, others may become due before one of these ends.
                await pulls.settle(within_s=None if pulls.full else poll_s)
            except Transient as error:
                log.warning("pulls wait for a dependency", dependency=error.dependency, detail=error.detail)
                await asyncio.sleep(poll_s)
    finally:
        await pulls.close()


async def pull_due(tools: Tools, publish: Publish) -> int:
    """Pull the sources that are due now, side by side; return how many there were. Raises Transient."""
    pulls = Pulls(tools, publish)
    try:
        begun = await pulls.begin()
        await pulls.settle(all_of_them=True)
    finally:
        await pulls.close()
    return begun


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
