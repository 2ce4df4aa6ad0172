"""What the log holds of documents: for each wanted one, where its highest version stands, and what stands last."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from infra.errors import Permanent, Transient
from infra.kafka.codec import decode
from infra.objects.store import ObjectStore
from schemas.documents import DocumentVersion
from topics.catalogue import DOCUMENTS

FETCH_MS = 1_000
RECORDS = 1_000


@dataclass(frozen=True, slots=True)
class Logged:
    """The highest version of a document in the log. `last` is the offset of its last version, which compaction keeps:
    not this one where versions came out of order.
    """

    version: int
    deleted: bool
    partition: int
    offset: int
    last: int


class DocumentLog:
    """Reads the whole topic of documents, keeping only what is asked for. Raises Transient("kafka")."""

    def __init__(self, bootstrap: Sequence[str], objects: ObjectStore) -> None:
        self._bootstrap = list(bootstrap)
        self._objects = objects

    async def find(
        self, keys: Collection[str], begin: Mapping[int, int] | None = None
    ) -> tuple[dict[str, Logged], dict[int, int]]:
        """Return what the log holds of `keys` (workspace/document id) from `begin` to its present end, and that end.

        Memory is bounded by `keys`, time by the topic: keys are compared, and only the wanted bodies are read.
        """
        wanted = {key.encode() for key in keys}
        found: dict[str, Logged] = {}
        async with self._consumer() as consumer:
            places = [TopicPartition(DOCUMENTS.name, number) for number in range(DOCUMENTS.partitions)]
            consumer.assign(places)
            ends = await consumer.end_offsets(places)
            starts = await consumer.beginning_offsets(places)
            for place in places:
                consumer.seek(place, max(starts[place], (begin or {}).get(place.partition, 0)))
            open_places = {place for place in places if await consumer.position(place) < ends[place]}
            while open_places:
                batches = await consumer.getmany(*open_places, timeout_ms=FETCH_MS, max_records=RECORDS)
                for records in batches.values():
                    for record in records:
                        if record.key in wanted:
                            await self._note(record, found)
                open_places = {place for place in open_places if await consumer.position(place) < ends[place]}
        return found, {place.partition: offset for place, offset in ends.items()}

    async def _note(self, record: object, found: dict[str, Logged]) -> None:
        try:
            delivery = await decode(record, DOCUMENTS, self._objects)  # type: ignore[arg-type]
        except Permanent:
            return  # whoever consumes it has dead-lettered it
        if delivery is None:
            return
        version: DocumentVersion = delivery.body
        offset, partition = record.offset, record.partition  # type: ignore[attr-defined]
        logged = Logged(version.version, version.operation == "delete", partition, offset, offset)
        held = found.get(delivery.key)
        if held is not None and (held.version, held.deleted) > (logged.version, logged.deleted):
            logged = Logged(held.version, held.deleted, held.partition, held.offset, offset)
        found[delivery.key] = logged

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False)
        try:
            await consumer.start()
            yield consumer
        except (KafkaError, OSError) as error:
            raise Transient("kafka", f"reading the log: {type(error).__name__}") from error
        finally:
            await consumer.stop()
