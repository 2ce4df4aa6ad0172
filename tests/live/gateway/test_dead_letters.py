"""Dead letters and deletion receipts over HTTP, on the real log and the real ledger's tables."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from infra.kafka.codec import new_envelope
from infra.kafka.dead_letters import letter_for
from infra.kafka.producer import Publisher
from infra.objects.store import ObjectStore
from schemas.dead_letters import DeadLetter, Reason
from schemas.receipts import Receipt
from tests.deliveries import delivery
from tests.events import AT, document, raw_event, receipt
from tests.eventually import eventually
from tests.live.gateway.conftest import Environment, Tail, tailing
from tests.live.postgres import rows
from tests.records import RawRecord
from topics.catalogue import DEAD_LETTERS, LETTER_MARKS
from workers.forgetter.worker import forget
from workers.ledger.worker import record_documents, record_letters, record_marks, record_receipts


@pytest.fixture
async def publisher(surroundings: Environment) -> AsyncIterator[Publisher]:
    objects = ObjectStore.open(surroundings["OBJECT_STORE_URL"])
    opened = await Publisher.open([surroundings["KAFKA_BOOTSTRAP_SERVERS"]], objects)
    yield opened
    await opened.close()


@pytest.fixture
async def letters(surroundings: Environment) -> AsyncIterator[Tail]:
    async with tailing(surroundings, DEAD_LETTERS) as tail:
        yield tail


@pytest.fixture
async def marks(surroundings: Environment) -> AsyncIterator[Tail]:
    async with tailing(surroundings, LETTER_MARKS) as tail:
        yield tail


class Burying:
    """Lets records die as the runtime does, and the ledger write it down."""

    def __init__(self, publisher: Publisher, letters: Tail, pool: asyncpg.Pool) -> None:
        self._publisher = publisher
        self._letters = letters
        self.pool = pool

    async def bury(self, workspace: str, name: str, *, broken: bool = False) -> DeadLetter:
        event = raw_event(name, workspace=workspace, subject=name)
        headers = [*new_envelope(event, id=event.event_id, source="src_a").headers()]
        record = RawRecord(
            value=b"{not json \xf0",
            offset=int(uuid4()) % 10**9,
            key=name.encode(),
            headers=[*headers, ("x", None)] if broken else [*headers],
        )
        letter = letter_for(
            record,
            worker="normalizer",
            reason=Reason.INVALID_HEADERS if broken else Reason.INVALID_JSON,
            detail="no JSON",
            attempts=1,
            first_at=AT,
            root=None,
        )
        await self._publisher.publish(DEAD_LETTERS, letter, new_envelope(letter, id=letter.letter_id, source="src_a"))

        async def found() -> bool:
            ours = [each for each in await self._letters.read() if each.body.letter_id == letter.letter_id]
            await record_letters(ours, self.pool)
            return bool(ours)

        await eventually(found)
        return letter


@pytest.fixture
def burying(publisher: Publisher, letters: Tail, pool: asyncpg.Pool) -> Burying:
    return Burying(publisher, letters, pool)


async def test_letters_are_listed_and_shown_to_their_own_workspace_alone(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, burying: Burying, workspace: str
) -> None:
    made = [await burying.bury(workspace, f"n{number}") for number in range(3)]
    other = await burying.bury(f"{workspace}-2", "n0")
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/dead-letters", params=query)).json()
        seen += [letter["letter_id"] for letter in page["dead_letters"]]
        assert page["counts"] == [{"state": "open", "topic": "raw.events", "reason": "invalid_json", "letters": 3}]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [str(letter.letter_id) for letter in reversed(made)]
    shown = (await client.get(f"/v1/dead-letters/{made[0].letter_id}")).json()
    assert (shown["record"]["encoding"], shown["record"]["bytes"], shown["marks"]) == ("base64", 11, [])
    assert {header["name"]: header["value"] for header in shown["record"]["headers"]}["workspace"] == workspace
    none = (await client.get("/v1/dead-letters", params={"reason": "oversize"})).json()
    assert (none["dead_letters"], none["counts"]) == ([], [])
    for path in ("", "/redrive", "/discard"):
        method = "POST" if path else "GET"
        refused = await client.request(method, f"/v1/dead-letters/{other.letter_id}{path}")
        assert (refused.status_code, refused.json()["code"]) == (404, "letter_not_found")
    theirs = (await stranger.get("/v1/dead-letters")).json()["dead_letters"]
    assert [letter["letter_id"] for letter in theirs] == [str(other.letter_id)]
    bad = await client.get("/v1/dead-letters", params={"cursor": "nonsense"})
    assert bad.json()["errors"][0]["pointer"] == "query/cursor"


async def test_a_redrive_publishes_the_record_and_its_mark_and_writes_nothing_itself(
    client: httpx.AsyncClient, burying: Burying, log: Tail, marks: Tail, workspace: str
) -> None:
    letter = await burying.bury(workspace, "n")
    answer = await client.post(f"/v1/dead-letters/{letter.letter_id}/redrive")
    assert (answer.status_code, answer.json()["state"]) == (202, "redriven"), answer.text

    async def marked() -> list[object]:
        return [each for each in await marks.read() if each.body.letter_id == letter.letter_id]

    (made,) = await eventually(marked)
    state = "select state from dead_letters where letter_id = $1"
    assert await burying.pool.fetchval(state, letter.letter_id) == "open"
    await record_marks([made], burying.pool)  # type: ignore[list-item]
    assert await burying.pool.fetchval(state, letter.letter_id) == "redriven"
    sent = await records_with(log, workspace)
    assert [(record.value, record.key) for record in sent] == [(letter.value, letter.key)]
    headers = dict(sent[0].headers)
    assert headers["ce_id"].decode() == str(letter.event_id)
    assert headers["origin"].decode() == f"raw.events:{letter.partition}:{letter.offset}"
    assert (await client.get(f"/v1/dead-letters/{letter.letter_id}")).json()["marks"][0]["state"] == "redriven"


async def records_with(log: Tail, workspace: str) -> list[object]:
    """Return the raw records of `workspace`: what is redriven here is no JSON, which the tail would not decode."""
    found: list[object] = []

    async def some() -> list[object]:
        for records in (await log._consumer.getmany(timeout_ms=200)).values():
            found.extend(record for record in records if dict(record.headers).get("workspace") == workspace.encode())
        return found

    return await eventually(some)


async def test_what_cannot_be_redriven_says_why_and_can_be_discarded(
    client: httpx.AsyncClient, burying: Burying, marks: Tail, pool: asyncpg.Pool, workspace: str
) -> None:
    letter = await burying.bury(workspace, "n", broken=True)
    refused = await client.post(f"/v1/dead-letters/{letter.letter_id}/redrive")
    assert (refused.status_code, refused.json()["code"]) == (409, "letter_not_redrivable")
    assert "header 'x' is null" in refused.json()["detail"]
    assert (await client.post(f"/v1/dead-letters/{letter.letter_id}/discard")).status_code == 202

    async def marked() -> list[str]:
        return [each.body.state for each in await marks.read() if each.body.letter_id == letter.letter_id]

    assert await eventually(marked) == ["discarded"]
    gone = await rows.letter(pool, workspace, None)
    await pool.execute("update dead_letters set letter_offset = 10^12 where letter_id = $1", gone)
    refused = await client.post(f"/v1/dead-letters/{gone}/redrive")
    assert (refused.status_code, refused.json()["code"]) == (410, "letter_gone")
    assert (await client.get(f"/v1/dead-letters/{gone}")).json()["record"] is None


async def test_a_letter_at_anothers_place_is_not_shown(
    client: httpx.AsyncClient, burying: Burying, pool: asyncpg.Pool, workspace: str
) -> None:
    """Rows and log disagree (a topic made anew under an old database): nothing of another workspace may show."""
    theirs = await burying.bury(f"{workspace}-2", "secret")
    mine = await rows.letter(pool, workspace, None)
    await pool.execute(
        """update dead_letters d set (letter_partition, letter_offset) = (t.letter_partition, t.letter_offset)
           from dead_letters t where d.letter_id = $1 and t.letter_id = $2""",
        mine,
        theirs.letter_id,
    )
    assert (await client.get(f"/v1/dead-letters/{mine}")).json()["record"] is None
    assert (await client.post(f"/v1/dead-letters/{mine}/redrive")).status_code == 410


async def test_a_deletion_is_confirmed_by_every_sink(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, pool: asyncpg.Pool, workspace: str
) -> None:
    embedder = await rows.live_index(pool)
    kept = document("Text.", workspace=workspace, version=1)
    gone = document("", workspace=workspace, version=2)
    path = f"/v1/documents/{kept.document_id}/receipts"
    assert (await client.get(path)).json()["code"] == "document_not_found"
    await record_documents([delivery(kept)], pool)
    for sink in (embedder, "graph_builder"):
        await record_receipts([delivery(receipt(kept, sink))], pool)
    told = (await client.get(path)).json()
    assert (told["version"], told["deleted"], told["deletion"]) == (1, False, None)
    assert {each["sink"] for each in told["receipts"]} == {embedder, "graph_builder"}
    (own,) = await record_documents([delivery(gone)], pool)
    assert isinstance(own.body, Receipt)
    told = (await client.get(path)).json()["deletion"]
    assert (told["version"], told["complete"]) == (2, False)
    assert told["confirmed"] == {embedder: None, "graph_builder": None, "ledger": None, "answer_cache": None}
    await record_receipts([delivery(own.body)], pool)
    await record_receipts([delivery(receipt(gone, embedder))], pool)
    told = (await client.get(path)).json()["deletion"]
    assert (told["complete"], told["confirmed"]["graph_builder"]) == (False, None)
    assert told["confirmed"]["ledger"]
    await record_receipts([delivery(receipt(gone, "graph_builder", outcome="stale"))], pool)
    told = (await client.get(path)).json()["deletion"]
    assert (told["complete"], told["confirmed"]["answer_cache"]) == (False, None)
    (forgotten,) = await forget([delivery(own.body)], None)
    assert isinstance(forgotten.body, Receipt)
    await record_receipts([delivery(forgotten.body)], pool)
    told = (await client.get(path)).json()["deletion"]
    assert told["complete"]
    assert UUID(told["event_id"]) == gone.event_id
    assert (await client.get(f"/v1/documents/{kept.document_id}")).status_code == 404
    assert (await stranger.get(path)).status_code == 404
