"""Deliveries for tests that call a handler directly."""

from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

from infra.kafka.codec import new_envelope
from infra.kafka.worker import Delivery, Outgoing, Slices
from schemas.envelope import Origin
from schemas.event import Event
from schemas.ids import deterministic_id
from topics.catalogue import CATALOGUE, Topic

Body = TypeVar("Body", bound=Event)


def delivery(body: Body, *, offset: int = 0, partition: int = 0, topic: Topic[Any] | None = None) -> Delivery[Body]:
    """Return `body` as if fetched from `topic` (by default the first topic that carries its schema)."""
    topic = topic or next(topic for topic in CATALOGUE if topic.body is type(body))
    origin = Origin(topic.name, partition, offset)
    identity = getattr(body, "event_id", None) or deterministic_id("test", str(origin))
    return Delivery(body, new_envelope(body, id=identity, source="/test"), origin, topic.key(body))


async def said_by(outgoing: Iterable[Outgoing] | Slices) -> list[Outgoing]:
    """Return everything that a handler has published, at once or piece by piece."""
    if isinstance(outgoing, AsyncIterator):
        return [each async for part in outgoing for each in part]
    return list(outgoing)
