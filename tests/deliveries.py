"""Deliveries for tests that call a handler directly."""

from typing import Any, TypeVar

from infra.kafka.codec import new_envelope
from infra.kafka.worker import Delivery
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
