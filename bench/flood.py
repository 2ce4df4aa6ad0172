"""Publishes many events of one size, quickly: each is valid, has an id of its own and is a document of its own."""

import asyncio
import tempfile
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import orjson
from aiokafka import AIOKafkaProducer

from infra.kafka.codec import Encoded, encode, new_envelope
from infra.objects.store import ObjectStore
from schemas.ids import event_id
from schemas.raw import RawEvent
from topics.catalogue import RAW_EVENTS

OUTSTANDING = 4_000
"""Records that have not been acknowledged yet, at most."""
PLACE = "0" * 12
NIL = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Template:
    """A record as the gateway publishes it, from which those of all events are made: encoding each takes too long."""

    record: Encoded
    body: bytes
    """What the sender said: JSON, which stands in the record as Base64."""

    @classmethod
    async def of(cls, size: int) -> "Template":
        """Return the template of records of about `size` bytes."""
        text = ("The wheel turns, the stones grind, the flour falls. " * (size // 40 + 1))[: size // 2]
        body = orjson.dumps({"id": f"doc-{PLACE}", "version": 1, "title": f"Log {PLACE}", "text": text})
        event = RawEvent(
            workspace="backlog",
            event_id=NIL,
            source="src_backlog",
            connector="generic",
            delivery=f"d-{PLACE}",
            received_at=datetime.now(UTC),
            content_type="application/json",
            body=body,
        )
        objects = ObjectStore.open(Path(tempfile.gettempdir()).as_uri())
        return cls(await encode(RAW_EVENTS, event, new_envelope(event, id=NIL, source="src_backlog"), objects), body)

    @property
    def size(self) -> int:
        """Bytes of value and headers."""
        headers = sum(len(name) + len(value) for name, value in self.record.headers)
        return len(self.record.value or b"") + headers

    def numbered(self, number: int) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
        """Return key, value and headers of event `number`: an id, a delivery and a document that no other has."""
        nil, place = str(NIL).encode(), f"{number:012d}".encode()
        identity = str(event_id("backlog", "src_backlog", str(number))).encode()
        body = b64encode(self.body.replace(PLACE.encode(), place))
        value = (self.record.value or b"").replace(b64encode(self.body), body)
        value = value.replace(nil, identity).replace(PLACE.encode(), place)
        return place, value, [(name, identity if told == nil else told) for name, told in self.record.headers]


class Source:
    """Publishes the events, numbered from 0."""

    def __init__(self, bootstrap: str, template: Template) -> None:
        self._bootstrap = bootstrap
        self._template = template
        self.published = 0

    async def publish(self, count: int) -> None:
        """Publish `count` further events, each with an id, a delivery and a document of its own."""
        topic = self._template.record.topic
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, acks="all", enable_idempotence=True, linger_ms=20, max_batch_size=262_144
        )
        await producer.start()
        try:
            waiting: set[asyncio.Future[object]] = set()
            for number in range(self.published, self.published + count):
                key, value, headers = self._template.numbered(number)
                waiting.add(await producer.send(topic, value, key=key, headers=headers))
                if len(waiting) >= OUTSTANDING:
                    done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    for each in done:
                        each.result()
            await asyncio.gather(*waiting)
        finally:
            await producer.stop()
        self.published += count
