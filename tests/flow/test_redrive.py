"""An old dead letter is redriven on the whole platform: it ends, and changes nothing that is newer (fault 46)."""

from typing import Any
from uuid import uuid4

import orjson

from infra.kafka.codec import new_envelope
from infra.kafka.dead_letters import letter_for
from infra.kafka.producer import Publisher
from infra.objects.store import ObjectStore
from schemas.dead_letters import DeadLetter, Reason
from schemas.event import now
from schemas.ids import event_id
from schemas.raw import RawEvent
from tests.conftest import Environment, Servers
from tests.eventually import eventually
from tests.flow.tenant import Tenant
from tests.records import RawRecord
from topics.catalogue import DEAD_LETTERS, RAW_EVENTS


def death_of(workspace: str, source: str, body: dict[str, Any]) -> DeadLetter:
    """Return the letter of a delivery that died long ago, at an offset that nothing else has."""
    delivery = f"msg_{uuid4().hex}"
    event = RawEvent(
        workspace=workspace,
        event_id=event_id(workspace, source, delivery),
        source=source,
        connector="generic",
        delivery=delivery,
        received_at=now(),
        content_type="application/json",
        body=orjson.dumps(body),
    )
    record = RawRecord(
        offset=10**9 + int(uuid4()) % 10**6,
        key=RAW_EVENTS.key(event).encode(),
        value=event.model_dump_json().encode(),
        headers=[*new_envelope(event, id=event.event_id, source="/gateway").headers()],
    )
    return letter_for(
        record,
        worker="normalizer",
        reason=Reason.HANDLER_ERROR,
        detail="a bug that is mended by now",
        attempts=3,
        first_at=now(),
        root=event.event_id,
    )


async def test_an_old_letter_redriven_ends_and_changes_nothing_newer(
    platform: Servers, addresses: Environment, tenant: Tenant, rival: Tenant
) -> None:
    found = await platform("kafka")
    objects = ObjectStore.open(found["OBJECT_STORE_URL"])
    publisher = await Publisher.open([found["KAFKA_BOOTSTRAP_SERVERS"]], objects)
    sender = await tenant.source("generic")
    newer = await tenant.settled(await sender.accepted({"id": "sluice", "version": 2, "text": "The sluice is open."}))
    document = newer["documents"][0]["document_id"]
    letter = death_of(tenant.workspace, sender.source_id, {"id": "sluice", "version": 1, "text": "The sluice is shut."})
    await publisher.publish(DEAD_LETTERS, letter, new_envelope(letter, id=letter.letter_id, source="/gateway"))
    await publisher.close()

    async def state() -> str:
        listed = (await tenant.get("/v1/dead-letters"))["dead_letters"]
        return str(listed[0]["state"]) if listed else ""

    await eventually(lambda: is_state(state, "open"), within=20)
    path = f"/v1/dead-letters/{letter.letter_id}"
    for method, each in (("GET", path), ("POST", f"{path}/redrive"), ("POST", f"{path}/discard")):
        assert await rival.status(method, each) == 404
    assert await tenant.status("POST", f"{path}/redrive") == 202
    # Until the ledger has read the mark, the event still counts as dead-lettered.
    ended = await eventually(lambda: complete(tenant, str(letter.event_id)), within=60)
    assert ended is not None
    assert ended["documents"] == []
    assert "newer state" in next(stage["detail"] for stage in ended["stages"] if stage["stage"] == "normalised")
    await eventually(lambda: is_state(state, "redriven"), within=20)
    receipts = (await tenant.get(f"/v1/documents/{document}/receipts"))["receipts"]
    assert {receipt["version"] for receipt in receipts} == {2}, "the old state went to a sink"
    shown = await tenant.get(f"/v1/documents/{document}")
    assert (shown["version"], shown["text"]) == (2, "The sluice is open.")
    assert {passage["text"] for passage in await tenant.passages("Is the sluice shut?")} == {"The sluice is open."}


async def complete(tenant: Tenant, event: str) -> dict[str, Any] | None:
    found = await tenant.event(event)
    return found if found["state"] == "complete" else None


async def is_state(state: Any, wanted: str) -> bool:
    return bool(await state() == wanted)
