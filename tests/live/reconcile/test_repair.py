"""What a repair publishes, by what log and ledger still know: on the real broker and database."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from qdrant_client import AsyncQdrantClient

from infra.kafka.codec import decode, new_envelope
from infra.kafka.lag import reach
from infra.kafka.producer import Publisher
from infra.kafka.redrive import RecordReader
from infra.kafka.worker import Delivery
from infra.objects.store import ObjectStore
from infra.reconcile.expected import details, pages, unknown
from infra.reconcile.log import DocumentLog
from infra.reconcile.repair import Damaged, Outcome, Repair
from infra.reconcile.states import Finding, Problem, Sink
from infra.reconcile.vectors import VectorsHeld
from schemas.documents import DocumentVersion
from schemas.receipts import Receipt
from tests.databases import fresh_database
from tests.deliveries import delivery
from tests.events import AT, document, raw_event, receipt
from topics.catalogue import DOCUMENTS, RAW_EVENTS, Topic
from workers.ledger.worker import record_documents, record_events, record_receipts

READ_ALL = {sink: dict.fromkeys(range(DOCUMENTS.partitions), 10**9) for sink in Sink}
"""Every worker is past everything."""
READ_NOTHING: Mapping[Sink, Mapping[int, int]] = {sink: {} for sink in Sink}


@pytest.fixture(scope="session")
async def pool(postgres: dict[str, str]) -> AsyncIterator[asyncpg.Pool]:
    async with fresh_database(postgres) as opened:
        yield opened


@dataclass
class Bench:
    """The log with what is needed to repair from it, and a workspace of its own."""

    bootstrap: str
    pool: asyncpg.Pool
    publisher: Publisher
    records: RecordReader
    objects: ObjectStore
    log: DocumentLog
    workspace: str

    async def publish(self, version: DocumentVersion) -> None:
        envelope = new_envelope(version, id=version.event_id, source="src_a")
        await self.publisher.publish(DOCUMENTS, version, envelope)

    def repair(self, **options: bool) -> Repair:
        vectors = VectorsHeld(AsyncQdrantClient(location=":memory:"), "not asked")
        parts = (self.pool, self.publisher, self.records, self.objects, self.log)
        return Repair(*parts, vectors=vectors, **{"dry_run": False, "delete_extra": False, **options})

    async def run(
        self, version: DocumentVersion, reached: Mapping[Any, Any], problem: Problem = Problem.MISSING, **options: bool
    ) -> Outcome:
        """Repair the graph, which lacks `version`."""
        (known,) = await details(self.pool, self.workspace, [version.document_id])
        finding = Finding(self.workspace, version.document_id, Sink.GRAPH, problem, "", None)
        outcomes = [each async for each in self.repair(**options).repair([Damaged(known, [finding])], reached)]
        ((_, outcome),) = outcomes
        return outcome

    async def ends(self, topic: Topic[Any] = DOCUMENTS) -> dict[int, int]:
        return await self.records.ends(topic)

    async def since(self, begin: Mapping[int, int], topic: Topic[Any] = DOCUMENTS) -> list[Delivery[Any] | None]:
        """Return what was published since `begin`; None for a tombstone."""
        found: list[Delivery[Any] | None] = []
        for partition, end in (await self.ends(topic)).items():
            for offset in range(begin[partition], end):
                record = await self.records.read(topic, partition, offset)
                if (record.key or b"").startswith(self.workspace.encode()):
                    found.append(await decode(record, topic, self.objects))
        return found


@pytest.fixture
async def bench(kafka: dict[str, str], pool: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[Bench]:
    objects = ObjectStore.open((tmp_path / "objects").as_uri())
    bootstrap = kafka["KAFKA_BOOTSTRAP_SERVERS"]
    publisher, records = await Publisher.open([bootstrap], objects), RecordReader([bootstrap])
    log = DocumentLog([bootstrap], objects)
    yield Bench(bootstrap, pool, publisher, records, objects, log, f"w{uuid4().hex}")
    await records.close()
    await publisher.close()


@pytest.fixture
def version(bench: Bench) -> Callable[..., DocumentVersion]:
    def make(text: str = "A text.", number: int = 1, **fields: Any) -> DocumentVersion:
        return document(text, workspace=bench.workspace, version=number, **fields)

    return make


async def test_the_highest_version_of_the_log_is_published_and_stands_last(
    bench: Bench, version: Callable[..., DocumentVersion]
) -> None:
    two = version("two", 2)
    for each in (two, version("one", 1)):
        await bench.publish(each)
    key = DOCUMENTS.key(two)
    found, begin = await bench.log.find({key})
    assert (found[key].version, found[key].last) == (2, found[key].offset + 1)
    await record_documents([delivery(two)], bench.pool)
    assert (await bench.run(two, READ_ALL)).action == "republished"
    (again,) = await bench.since(begin)
    assert again is not None
    assert (again.body, again.envelope.id) == (two, two.event_id)
    assert again.origin.offset == found[key].offset
    found, _ = await bench.log.find({key})
    assert (found[key].version, found[key].last) == (2, found[key].offset)


async def test_what_is_on_its_way_or_only_looked_at_is_left_alone(
    bench: Bench, version: Callable[..., DocumentVersion]
) -> None:
    one = version()
    await bench.publish(one)
    await record_documents([delivery(one)], bench.pool)
    begin = await bench.ends()
    assert (await bench.run(one, READ_NOTHING)).action == "waiting"
    assert (await bench.run(one, READ_ALL, dry_run=True)).action == "republished"
    assert await bench.since(begin) == []


async def test_a_deletion_that_the_log_forgot_is_made_anew(
    bench: Bench, version: Callable[..., DocumentVersion]
) -> None:
    gone = version("", 4, connector="files", external_id="a.md")
    await record_documents([delivery(gone)], bench.pool)
    begin = await bench.ends()
    assert (await bench.run(gone, READ_ALL)).action == "deletion republished"
    made, tombstone = await bench.since(begin)
    assert made is not None
    assert tombstone is None
    assert (made.body.operation, made.body.version, made.body.external_id) == ("delete", 4, "a.md")
    assert (made.body.connector, made.body.event_id) == ("files", gone.event_id)


async def test_where_the_log_has_an_older_version_the_raw_event_is_published(
    bench: Bench, version: Callable[..., DocumentVersion]
) -> None:
    two = version("two", 2)
    await bench.publish(version("one", 1))
    raw = raw_event("1/2", workspace=bench.workspace, body=b"# two")
    assert raw.event_id == two.event_id
    begin = await bench.ends(RAW_EVENTS)
    await bench.publisher.publish(RAW_EVENTS, raw, new_envelope(raw, id=raw.event_id, source="/gateway"))
    (accepted,) = await bench.since(begin, RAW_EVENTS)
    assert accepted is not None
    await record_documents([delivery(two)], bench.pool)
    unknown_event = await bench.run(two, READ_ALL)
    assert (unknown_event.action, unknown_event.cause) == ("left", "not in the log, and its event is not known")
    await record_events([accepted], bench.pool)
    begin = await bench.ends(RAW_EVENTS)
    assert (await bench.run(two, READ_ALL)).action == "raw event republished"
    (again,) = await bench.since(begin, RAW_EVENTS)
    assert again is not None
    assert (again.body, again.origin) == (raw, accepted.origin)
    await bench.pool.execute("update events set raw_offset = 10^12 where event_id = $1", raw.event_id)
    outcome = await bench.run(two, READ_ALL)
    assert (outcome.action, "raw event is gone" in outcome.cause) == ("left", True)


async def test_a_newer_version_that_came_between_stands_last_again(
    bench: Bench, version: Callable[..., DocumentVersion]
) -> None:
    two = version("two", 2)
    await bench.publish(two)
    key = DOCUMENTS.key(two)
    found, begin = await bench.log.find({key})
    for each in (version("three", 3), two):
        await bench.publish(each)
    await bench.repair()._keep_newest(found, begin)
    after, _ = await bench.log.find({key})
    assert (after[key].version, after[key].last) == (3, after[key].offset)


async def test_poison_in_the_log_is_passed_over(bench: Bench, version: Callable[..., DocumentVersion]) -> None:
    from infra.kafka.codec import Encoded

    one = version()
    await bench.publish(one)
    key = DOCUMENTS.key(one)
    await bench.publisher.send([Encoded(DOCUMENTS.name, key.encode(), b"{no json", [])])
    found, _ = await bench.log.find({key})
    assert found[key].version == 1


async def test_the_ledgers_pages_hold_every_document_once(
    bench: Bench, version: Callable[..., DocumentVersion]
) -> None:
    ws = bench.workspace
    in_table = [version(external_id=f"t{number}") for number in range(7)]
    await record_documents([delivery(each) for each in in_table], bench.pool)
    only_receipt = version("", 3, external_id="r")
    await record_receipts([delivery(receipt(only_receipt))], bench.pool)
    unheard = version(external_id="u")
    told = Receipt(
        workspace=ws,
        sink="normalizer",
        event_id=unheard.event_id,
        source="src_a",
        outcome="applied",
        documents=(unheard.document_id,),
        at=AT,
    )
    await record_receipts([delivery(told)], bench.pool)
    found = [known async for page in pages(bench.pool, ws, None, 3) for known in page]
    every = [*in_table, only_receipt, unheard]
    assert sorted(known.document_id for known in found) == sorted(each.document_id for each in every)
    by_id = {known.document_id: known for known in found}
    assert (by_id[only_receipt.document_id].version, by_id[only_receipt.document_id].deleted) == (3, True)
    assert by_id[unheard.document_id].version is None
    assert [known async for page in pages(bench.pool, ws, "src_b", 3) for known in page] == []
    assert [known async for page in pages(bench.pool, f"{ws}b", None, 3) for known in page] == []
    stranger = document(external_id="nobody").document_id
    assert await unknown(bench.pool, ws, [stranger, unheard.document_id]) == [stranger, unheard.document_id]
    assert await unknown(bench.pool, ws, [in_table[0].document_id]) == []


async def test_a_group_that_never_read_is_behind_by_everything(bench: Bench) -> None:
    found = await reach([bench.bootstrap], f"nobody-{uuid4().hex}", [DOCUMENTS])
    ends = await bench.ends()
    assert {number: (place.committed, place.behind) for number, place in found[DOCUMENTS.name].items()} == {
        number: (0, end) for number, end in ends.items()
    }
