"""Reads whole dead letters back from the log and publishes their records once more.

A redriven record has the bytes, key and headers of the one that died, and two headers more: `origin`, where it first
stood (by which versions, the normalizer's inbox and the letter's own id take it for the same record), and `attempts`,
the tries so far. Order of a redrive: record, acknowledged; then the mark, acknowledged. What dies in between leaves the
letter open, and redriving it once more changes nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from uuid import UUID, uuid4

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from infra.errors import Transient
from infra.kafka.codec import Encoded, Record, decode, new_envelope
from infra.kafka.dead_letters import ATTEMPTS, ORIGIN, first_place
from infra.objects.store import ObjectStore
from schemas.dead_letters import DeadLetter, LetterMark
from schemas.envelope import Envelope, EnvelopeError
from schemas.event import now
from topics.catalogue import DEAD_LETTERS, LETTER_MARKS, Topic

READ_TIMEOUT_S = 15.0
FETCH_MS = 500

Place = tuple[int, int]
"""Partition and offset in the letters' topic."""


class GoneError(Exception):
    """The log no longer holds the record at this place: its topic's retention has passed, or it was deleted."""


class NotRedrivableError(Exception):
    """The record's own headers are no envelope: published again it would die of them again. The message names them."""


class Sends(Protocol):
    """Puts records on the log."""

    async def send(self, records: Sequence[Encoded]) -> None:
        """Publish in order; returns once all are acknowledged. Raises Transient("kafka"), Permanent."""


class RecordReader:
    """Reads single records by their places, one call at a time; without a consumer group, so it moves no offsets."""

    def __init__(self, bootstrap: Sequence[str]) -> None:
        self._bootstrap = list(bootstrap)
        self._consumer: AIOKafkaConsumer | None = None
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            await consumer.stop()

    async def ends(self, topic: Topic[Any]) -> dict[int, int]:
        """Return the end offset of each partition of `topic`. Raises Transient("kafka")."""
        async with self._reading() as consumer:
            found = await consumer.end_offsets([TopicPartition(topic.name, part) for part in range(topic.partitions)])
            return {partition.partition: offset for partition, offset in found.items()}

    async def read(self, topic: Topic[Any], partition: int, offset: int) -> Record:
        """Return the record at a place. Raises GoneError, Transient("kafka")."""
        place = TopicPartition(topic.name, partition)
        async with self._reading() as consumer:
            first, end = await consumer.beginning_offsets([place]), await consumer.end_offsets([place])
            if not first[place] <= offset < end[place]:
                raise GoneError(f"{topic.name} holds {first[place]} to {end[place]} of partition {partition}")
            # A run over many letters reads on where it stands; a seek would throw away what was fetched ahead.
            if consumer.assignment() != {place}:
                consumer.assign([place])
                consumer.seek(place, offset)
            elif await consumer.position(place) != offset:
                consumer.seek(place, offset)
            while not (batch := await consumer.getmany(place, timeout_ms=FETCH_MS, max_records=1)):
                pass
            (record,) = batch[place]
            if record.offset != offset:
                raise GoneError(f"{topic.name} no longer holds offset {offset} of partition {partition}")
            found: Record = record
            return found

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AIOKafkaConsumer]:
        try:
            async with asyncio.timeout(READ_TIMEOUT_S), self._turn:
                yield await self._connected()
        except TimeoutError as error:
            raise Transient("kafka", f"no answer within {READ_TIMEOUT_S:g} s") from error
        except KafkaError as error:
            await self.close()
            raise Transient("kafka", type(error).__name__) from error

    async def _connected(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._bootstrap,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_partition_fetch_bytes=4 * 1024 * 1024,
            )
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
            self._consumer = consumer
        return self._consumer


class LetterReader:
    """Reads whole letters."""

    def __init__(self, records: RecordReader, objects: ObjectStore) -> None:
        self.records = records
        self._objects = objects

    async def read(self, place: Place) -> DeadLetter:
        """Return the letter at `place`. Raises GoneError, Transient, and Permanent if it cannot be read."""
        delivery = await decode(await self.records.read(DEAD_LETTERS, *place), DEAD_LETTERS, self._objects)
        if delivery is None:
            raise GoneError("the letter's place holds a tombstone")
        letter: DeadLetter = delivery.body
        return letter


@dataclass(slots=True)
class _Died:
    """A dead record, as the runtime saw it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def revive(letter: DeadLetter, changed: Mapping[str, str] | None = None) -> Encoded:
    """Return the record of `letter` as it is to be published again; the key decides the partition, as it did first.

    `changed` replaces headers by name; an empty value removes one. Raises NotRedrivableError if the headers then are
    no envelope.
    """
    headers: list[tuple[str, bytes | None]] = [(header.name, header.value) for header in letter.headers]
    record = _Died(letter.topic, letter.partition, letter.offset, 0, letter.key, letter.value, headers)
    return again(record, {ATTEMPTS: str(letter.attempts), **(changed or {})})


def again(record: Record, changed: Mapping[str, str] | None = None) -> Encoded:
    """Return `record` as it is to be published again, with its first place as `origin`. Raises NotRedrivableError."""
    new = {ORIGIN: str(first_place(record)), **(changed or {})}
    kept = [(name, value) for name, value in record.headers if name not in new]
    headers = [*kept, *((name, value.encode()) for name, value in new.items() if value)]
    try:
        Envelope.from_headers(headers)
    except EnvelopeError as error:
        raise NotRedrivableError(str(error)) from error
    whole = [(name, value) for name, value in headers if value is not None]
    return Encoded(record.topic, record.key, record.value, whole)


def mark(workspace: str, letter_id: UUID, place: Place, state: Literal["redriven", "discarded"], by: str) -> LetterMark:
    """Return what says that the letter, as it stands at `place`, was dealt with by `by`."""
    return LetterMark(
        workspace=workspace,
        mark_id=uuid4(),
        letter_id=letter_id,
        state=state,
        letter_partition=place[0],
        letter_offset=place[1],
        by=by[:200],
        at=now(),
    )


def encoded_mark(made: LetterMark, source: str) -> Encoded:
    """Return the record of a mark. `source` names the process that publishes it."""
    envelope = new_envelope(made, id=made.mark_id, source=source, subject=str(made.letter_id))
    value = made.model_dump_json().encode()
    return Encoded(LETTER_MARKS.name, LETTER_MARKS.key(made).encode(), value, envelope.headers())


async def redrive(sends: Sends, revived: Sequence[Encoded], marks: Iterable[LetterMark], source: str) -> None:
    """Publish records, then the marks of their letters, each time waiting for the broker.

    Raises Transient("kafka") (the letters are still open then, and the next try gives the same effect) and Permanent.
    """
    await sends.send(revived)
    await sends.send([encoded_mark(each, source) for each in marks])
