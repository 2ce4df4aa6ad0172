"""What happens to records between being fetched and being finished.

1. Decode each record; what is no valid event is dead-lettered.
2. Call the handler, which has its effects; wait and call again while a dependency is down. What it can never handle is
   dead-lettered, and whoever waits for it is told.
3. Publish what it returned and wait for the broker.
4. Only then is a record finished, and only then may its offset be committed.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from time import monotonic, perf_counter
from typing import Any, Generic, TypeVar
from uuid import UUID

from infra.errors import Transient
from infra.kafka import failpoints
from infra.kafka.codec import Record, decode, new_envelope, sorting
from infra.kafka.dead_letters import buried_by_another, letter_for
from infra.kafka.failpoints import Point
from infra.kafka.outcomes import Ceiling, Dead, Retry, judge
from infra.kafka.producer import Publisher
from infra.kafka.retry import Backoff
from infra.kafka.spans import consuming
from infra.kafka.worker import Delivery, Outgoing, Slices, Subscription
from infra.objects.store import ObjectStore
from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, count, observe
from schemas.event import Event, now
from schemas.ids import derived_event_id
from topics.catalogue import DEAD_LETTERS

Tools = TypeVar("Tools")
Pair = tuple[Record, Delivery[Any]]
log = logger(__name__)

SAID_EVERY_S = 1.0
"""Thousands of records may wait for one dependency at once: a line each would bury what else happens."""


class Stopping(Exception):  # noqa: N818 - an event, as its handler reads it
    """The partition is being given up while its records wait for a dependency."""


class Handling(Generic[Tools]):
    """Settles groups of records of one partition; partitions of a worker share tools and ceiling."""

    def __init__(
        self,
        worker: str,
        tools: Tools,
        publisher: Publisher,
        objects: ObjectStore,
        *,
        ceiling: Ceiling,
        backoff: Backoff | None = None,
    ) -> None:
        self.stopping = asyncio.Event()
        """Set to end waits for a dependency: the records stay unfinished and are delivered again."""
        self.waited_at = monotonic()
        """When a wait for a dependency last ended: what is retried is not stuck."""
        self._worker = worker
        self._tools = tools
        self._publisher = publisher
        self._objects = objects
        self._backoff = backoff or Backoff()
        self._ceiling = ceiling
        self._said_at: dict[str, float] = {}
        """When a wait for each dependency was last logged."""

    async def settle(self, records: Sequence[Record], subscription: Subscription[Tools]) -> None:
        """Return when every record is finished: its effects, publications or dead letter are durable.

        The records are of one workspace. Raises WorkspaceStopped, CeilingReached and Stopping; nothing else but
        cancellation ends it early.
        """
        for record in records[:1]:
            self._ceiling.check(_workspace(record))
        pairs: list[Pair] = []
        for record in records:
            delivery = await self._decoded(record, subscription)
            if delivery is not None:
                pairs.append((record, delivery))
        if failpoints.ARMED:
            await failpoints.reach(Point.AFTER_DECODE, self._worker)
        if pairs:
            await self._handle(pairs, subscription)

    async def _decoded(self, record: Record, subscription: Subscription[Tools]) -> Delivery[Any] | None:
        first_at = now()
        attempt = 0
        while True:
            attempt += 1
            try:
                delivery = await decode(record, subscription.topic, self._objects)
            except Exception as error:  # noqa: BLE001 - judged, never swallowed
                outcome = judge(error, attempt, self._backoff)
                if isinstance(outcome, Dead):
                    if buried_by_another(self._worker, subscription.topic, outcome.reason):
                        self._ceiling.dead(_workspace(record))
                        count(Metric.RECORDS_TOTAL, self._worker, record.topic, "skipped")
                    else:
                        await self._bury(record, outcome, attempt, first_at, None)
                    return None
                await self._wait(outcome, error)
            else:
                if delivery is None:
                    count(Metric.RECORDS_TOTAL, self._worker, record.topic, "tombstone")
                return delivery

    async def _handle(self, pairs: Sequence[Pair], subscription: Subscription[Tools]) -> None:
        topic = subscription.topic.name
        first_at = now()
        attempt = 0
        while True:
            attempt += 1
            try:
                await self._attempt(pairs, subscription)
            except Exception as error:  # noqa: BLE001 - judged, never swallowed
                outcome = judge(error, attempt, self._backoff)
                isolate = isinstance(outcome, Dead) or outcome.dependency == "handler"
                if isolate and len(pairs) > 1:
                    # One of them is bad: each alone, in order, so that its neighbours pass.
                    for pair in pairs:
                        await self._handle([pair], subscription)
                    return
                if isinstance(outcome, Dead):
                    record, delivery = pairs[0]
                    self._log_bug(error, outcome, delivery)
                    await self._bury(record, outcome, attempt, first_at, delivery.body)
                    await self._insist(partial(self._publish, list(subscription.buried(delivery)), {}))
                    return
                await self._wait(outcome, error)
            else:
                self._ceiling.done()
                count(Metric.RECORDS_TOTAL, self._worker, topic, "done", by=len(pairs))
                return

    async def _attempt(self, pairs: Sequence[Pair], subscription: Subscription[Tools]) -> None:
        started = perf_counter()
        deliveries = [delivery for _, delivery in pairs]
        with consuming(self._worker, subscription.topic.name, deliveries) as traces:
            if failpoints.ARMED:
                await failpoints.reach(Point.BEFORE_EFFECTS, self._worker)
            outgoing = await subscription.handler(deliveries, self._tools)
            if isinstance(outgoing, AsyncIterator):
                await self._publish_parts(outgoing, traces)
            else:
                if failpoints.ARMED:
                    await failpoints.reach(Point.AFTER_EFFECTS, self._worker)
                await self._publish(list(outgoing), traces)
            if failpoints.ARMED:
                await failpoints.reach(Point.AFTER_PUBLISH, self._worker)
        observe(Metric.HANDLE_SECONDS, perf_counter() - started, self._worker, subscription.topic.name)

    async def _publish_parts(self, parts: Slices, traces: Mapping[UUID, dict[str, str]]) -> None:
        reached = False
        try:
            async for part in parts:
                if failpoints.ARMED and not reached:
                    await failpoints.reach(Point.AFTER_EFFECTS, self._worker)
                reached = True
                await self._publish(part, traces)
        finally:
            # Now, and not when its error is forgotten: others may wait for what the handler holds.
            if isinstance(parts, AsyncGenerator):
                await parts.aclose()

    async def _publish(self, outgoing: Sequence[Outgoing], traces: Mapping[UUID, dict[str, str]]) -> None:
        if not outgoing:
            return
        time = now()
        records = []
        for event in outgoing:
            cause = event.cause.envelope
            envelope = new_envelope(
                event.body,
                id=derived_event_id(cause.id, self._worker, event.topic.name, event.part),
                source=cause.source,
                subject=event.topic.key(event.body),
                cause=cause.id,
                trace=(traces and traces.get(cause.id)) or cause.trace,
                time=time,
            )
            records.append(
                await self._publisher.encode(
                    event.topic, event.body, envelope, partition=event.partition, tombstone=event.tombstone
                )
            )
        await self._publisher.send(records)

    async def _bury(self, record: Record, dead: Dead, attempts: int, first_at: datetime, body: Event | None) -> None:
        self._ceiling.dead(_workspace(record))
        count(Metric.DEAD_LETTERS_TOTAL, self._worker, record.topic, dead.reason)
        count(Metric.RECORDS_TOTAL, self._worker, record.topic, "dead")
        coordinates = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        log.warning("dead letter", worker=self._worker, reason=dead.reason, detail=dead.detail, **coordinates)
        if record.topic == DEAD_LETTERS.name:
            # It is where it belongs already; another letter about it would feed itself for ever.
            return
        letter = letter_for(
            record,
            worker=self._worker,
            reason=dead.reason,
            detail=dead.detail,
            attempts=attempts,
            first_at=first_at,
            root=getattr(body, "event_id", None),
            source=getattr(body, "source", ""),
        )
        envelope = new_envelope(letter, id=letter.letter_id, source=letter.source or "/unknown", cause=letter.event_id)

        async def publish() -> None:
            if failpoints.ARMED:
                await failpoints.reach(Point.BEFORE_DEAD_LETTER, self._worker)
            await self._publisher.publish(DEAD_LETTERS, letter, envelope)
            if failpoints.ARMED:
                await failpoints.reach(Point.AFTER_DEAD_LETTER, self._worker)

        await self._insist(publish)

    async def _insist(self, publish: Callable[[], Awaitable[None]]) -> None:
        """Publish, however long the broker is away. Raises Stopping."""
        attempt = 0
        while True:
            attempt += 1
            try:
                await publish()
            except Transient as error:
                await self._wait(Retry(self._backoff.delay(attempt), error.dependency, error.detail), error)
            else:
                return

    async def _wait(self, retry: Retry, error: Exception) -> None:
        count(Metric.RETRIES_TOTAL, self._worker, retry.dependency)
        # Every retry is counted; of those that a dependency explains one a second is logged.
        explained = isinstance(error, Transient)
        if not explained or monotonic() - self._said_at.get(retry.dependency, -math.inf) >= SAID_EVERY_S:
            self._said_at[retry.dependency] = monotonic()
            log.warning(
                "trying again",
                worker=self._worker,
                dependency=retry.dependency,
                detail=retry.detail,
                delay_s=round(retry.delay_s, 2),
                exc_info=None if explained else error,
            )
        try:
            async with asyncio.timeout(retry.delay_s):
                await self.stopping.wait()
        except TimeoutError:
            self.waited_at = monotonic()
            return
        raise Stopping

    def _log_bug(self, error: Exception, dead: Dead, delivery: Delivery[Any]) -> None:
        if dead.reason == "handler_error":
            log.error(
                "a handler failed with an error nobody has classed",
                worker=self._worker,
                event_id=str(delivery.envelope.id),
                workspace=delivery.envelope.workspace,
                exc_info=error,
            )


def _workspace(record: Record) -> bytes:
    workspace, _, _ = sorting(record)
    return workspace
