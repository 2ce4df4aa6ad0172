"""Accepts events: onto the log, and only then a 2xx."""

from gateway.connections import Connections
from infra.kafka.codec import new_envelope
from infra.telemetry.tracing import inject
from schemas.raw import RawEvent
from topics.catalogue import RAW_EVENTS

PRODUCER = "/gateway"


async def accept(held: Connections, event: RawEvent) -> None:
    """Put `event` on the log; returns once every in-sync replica has it.

    Raises Transient("kafka") if the broker does not acknowledge in time, Permanent if it refuses the event.
    """
    envelope = new_envelope(event, id=event.event_id, source=PRODUCER, subject=event.subject, trace=inject())
    await held.publisher.publish(RAW_EVENTS, event, envelope)
