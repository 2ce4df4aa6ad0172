"""The handler against a real inbox and real parser children."""

from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from infra.errors import Permanent, Transient
from infra.kafka.worker import Delivery, Outgoing
from infra.postgres.pool import open_pool
from infra.settings import PostgresSettings
from schemas.dead_letters import Reason
from schemas.documents import DocumentVersion
from schemas.raw import RawEvent
from schemas.receipts import Receipt
from tests.deliveries import delivery, said_by
from tests.unit.workers.normalizer.arrivals import file, github, raw
from topics.catalogue import DOCUMENTS, RECEIPTS
from workers.normalizer.read import Tools, open_tools
from workers.normalizer.worker import normalise, worker


def unique() -> str:
    return uuid4().hex


def receipts(outgoing: Sequence[Outgoing]) -> list[Receipt]:
    return [each.body for each in outgoing if isinstance(each.body, Receipt)]


def versions(outgoing: Sequence[Outgoing]) -> list[DocumentVersion]:
    return [each.body for each in outgoing if isinstance(each.body, DocumentVersion) and not each.tombstone]


async def handle(deliveries: Sequence[Delivery[RawEvent]], tools: Tools) -> list[Outgoing]:
    return await said_by(await normalise(deliveries, tools))


async def test_a_batch_of_every_kind(tools: Tools) -> None:
    deliveries = [
        delivery(file("a.md", b"# A\n\nwords").model_copy(update={"event_id": uuid4()}), offset=0),
        delivery(raw("generic", {"id": unique(), "text": "words"}, delivery=unique()), offset=1),
        delivery(github("ping", {"zen": "x"}, delivery=unique()), offset=2),
        delivery(raw("files", operation="delete", subject="a.md", after_version=2, delivery=unique()), offset=3),
    ]
    outgoing = await handle(deliveries, tools)
    assert [receipt.outcome for receipt in receipts(outgoing)] == ["applied", "applied", "not_a_document", "applied"]
    assert all(receipt.sink == "normalizer" for receipt in receipts(outgoing))
    for one, said in zip(deliveries, receipts(outgoing), strict=True):
        assert said.event_id == one.body.event_id
        assert set(said.documents) == {v.document_id for v in versions(outgoing) if v.event_id == one.body.event_id}
    assert receipts(outgoing)[2].detail
    assert receipts(outgoing)[0].parts == 1
    tombstone = outgoing[-2]
    assert tombstone.tombstone
    assert tombstone.topic is DOCUMENTS
    assert isinstance(outgoing[-3].body, DocumentVersion)
    assert outgoing[-3].body.operation == "delete"
    assert len({(each.topic.name, each.part, each.cause.body.event_id) for each in outgoing}) == len(outgoing)


async def test_a_senders_redelivery_has_no_effect_and_our_own_has_the_same(tools: Tools) -> None:
    event = raw("generic", {"id": unique(), "text": "words"}, delivery=unique())
    first = await handle([delivery(event, offset=10)], tools)
    assert versions(first)
    again = await handle([delivery(event, offset=10)], tools)
    assert [each.body for each in again if each.topic is DOCUMENTS] == [
        each.body for each in first if each.topic is DOCUMENTS
    ]
    for other in (delivery(event, offset=11), delivery(event, offset=10, partition=1)):
        repeated = await handle([other], tools)
        assert [receipt.outcome for receipt in receipts(repeated)] == ["duplicate"]
        assert not versions(repeated)


async def test_twice_in_one_batch(tools: Tools) -> None:
    event = raw("generic", {"id": unique(), "text": "words"}, delivery=unique())
    outgoing = await handle([delivery(event, offset=20), delivery(event, offset=21)], tools)
    assert [receipt.outcome for receipt in receipts(outgoing)] == ["applied", "duplicate"]


async def test_a_bad_delivery_fails_the_batch_and_its_neighbours_are_not_read_twice(tools: Tools) -> None:
    slow = file("slow.html", b"<table>" + b"<tr><td><b><i>x</i></b></td></tr>" * 100_000 + b"</table>", n=unique())
    deliveries = [
        delivery(each.model_copy(update={"event_id": uuid4()}), offset=30 + at)
        for at, each in enumerate([file("a.md", b"words"), slow, file("b.md", b"words")])
    ]
    with pytest.raises(Permanent) as caught:
        await handle(deliveries, tools)
    assert caught.value.reason is Reason.PARSER_TIMEOUT
    assert len(tools.read) == 3
    assert versions(await handle(deliveries[:1], tools))
    with pytest.raises(Permanent) as caught:
        await handle(deliveries[1:2], tools)
    assert caught.value.reason is Reason.PARSER_TIMEOUT
    assert versions(await handle(deliveries[2:], tools))
    assert not tools.read


async def test_without_its_inbox_nothing_is_published(tools: Tools) -> None:
    nowhere = PostgresSettings.model_validate({"POSTGRES_DSN": "postgresql://nobody@127.0.0.1:9/none"})
    async with open_pool(nowhere) as pool:
        with pytest.raises(Transient):
            await handle([delivery(raw("generic", {"text": "x"}))], Tools(pool, tools.sandbox, tools.settings))


async def test_tools_open_without_any_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://nobody@127.0.0.1:9/none")
    async with open_tools() as opened:
        assert not opened.sandbox.running
        with pytest.raises(Transient):
            await handle([delivery(raw("generic", {"text": "x"}))], opened)


async def test_an_unknown_connector_is_dead_lettered(tools: Tools) -> None:
    event = raw("carrier-pigeon", b"coo", delivery=unique())
    with pytest.raises(Permanent) as caught:
        await handle([delivery(event, offset=40)], tools)
    assert caught.value.reason is Reason.UNKNOWN_CONNECTOR


async def test_every_real_payload_through_the_handler(tools: Tools, sample_data: Path) -> None:
    paths = sorted((sample_data / "github-webhooks").glob("*/*.json"))
    deliveries = [
        delivery(github(path.parent.name, path.read_bytes(), delivery=f"{path}{unique()}"), offset=1_000 + at)
        for at, path in enumerate(paths)
    ]
    outgoing: list[Outgoing] = []
    for start in range(0, len(deliveries), 64):
        outgoing += await handle(deliveries[start : start + 64], tools)
    said = receipts(outgoing)
    assert {receipt.event_id for receipt in said} == {each.body.event_id for each in deliveries}
    assert len(said) == len(deliveries)
    assert {receipt.outcome for receipt in said} == {"applied", "not_a_document"}


def test_what_the_worker_declares() -> None:
    assert {topic.name for topic in worker.publishes} == {DOCUMENTS.name, RECEIPTS.name}
    assert worker.group_id == "millrace.normalizer"
