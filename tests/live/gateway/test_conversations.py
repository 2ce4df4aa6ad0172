"""Conversations through the gateway, with the archivist as a process of its own."""

import asyncio
import csv
import io
import json
import os
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from infra.kafka.codec import new_envelope
from infra.kafka.producer import Publisher
from schemas.chat import ChatMessage, Citation
from schemas.envelope import Envelope
from schemas.event import now
from schemas.interactions import Interaction
from tests.eventually import eventually
from tests.live.gateway.conftest import Environment, running
from tests.live.gateway.test_streams import opened_publisher
from topics.catalogue import INTERACTIONS, Topic


@pytest.fixture(scope="module")
async def archivist(surroundings: Environment, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[None]:
    """The archivist and the ledger, as they run in the local stack."""
    log = tmp_path_factory.mktemp("archivist") / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "workers.host", "archivist", "ledger"),
            env=os.environ | surroundings,
            stdout=output,
            stderr=output,
        )
    try:
        yield
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 60)


@pytest.fixture
async def publisher(surroundings: Environment) -> AsyncIterator[Publisher]:
    async with opened_publisher(surroundings) as opened:
        yield opened


class Talk:
    """Says things in a conversation of `workspace`, as the inference worker tells the archivist."""

    def __init__(self, publisher: Publisher, client: httpx.AsyncClient, workspace: str) -> None:
        self.publisher = publisher
        self.client = client
        self.workspace = workspace
        self.id = uuid4()
        self.path = f"/v1/conversations/{self.id}"
        self.said: list[Interaction] = []

    async def say(self, question: str, answer: str, **fields: object) -> None:
        """Put it on the log and wait until it can be read."""
        await self.put(self.interaction(question, answer, **fields))
        await eventually(self.arrived, within=60)

    def interaction(self, question: str, answer: str, **fields: object) -> Interaction:
        """Return it as the inference worker tells it."""
        at = now() + timedelta(milliseconds=len(self.said))
        body = Interaction.model_validate(
            {
                "workspace": self.workspace,
                "request_id": uuid4(),
                "conversation_id": self.id,
                "question": ChatMessage(role="user", content=question),
                "answer": answer,
                "asked_at": at,
                "answered_at": at + timedelta(milliseconds=5),
                **fields,
            }
        )
        self.said.append(body)
        return body

    async def put(self, body: Interaction) -> None:
        await self.publisher.publish(*self.event(body))

    def event(self, body: Interaction) -> tuple[Topic[Interaction], Interaction, Envelope]:
        return INTERACTIONS, body, new_envelope(body, id=uuid4(), source="/test")

    async def arrived(self) -> bool:
        found = await self.client.get(self.path)
        return found.status_code == 200 and found.json()["messages"] == 2 * len(self.said)


@pytest.fixture
async def talk(archivist: None, publisher: Publisher, client: httpx.AsyncClient, workspace: str) -> Talk:
    return Talk(publisher, client, workspace)


async def test_a_conversation_is_found_read_named_put_away_and_taken_along(talk: Talk) -> None:
    client = talk.client
    cited = Citation(number=1, document_id=uuid4(), version=1, start=0, end=3, quote="Ada", title="Notes")
    await talk.say("Who wrote the first program?", "=Ada Lovelace [1].", citations=(cited,), served_by="extractive")
    await talk.say("And when?", "In 1843.")
    (listed,) = (await client.get("/v1/conversations")).json()["conversations"]
    assert (listed["title"], listed["messages"], listed["snippet"]) == ("Who wrote the first program?", 4, None)
    (hit,) = (await client.get("/v1/conversations", params={"query": "lovelace"})).json()["conversations"]
    assert hit["conversation_id"] == str(talk.id)
    assert "Ada Lovelace" in hit["snippet"]

    first = (await client.get(f"{talk.path}/messages", params={"limit": 3})).json()
    second = (await client.get(f"{talk.path}/messages", params={"limit": 3, "cursor": first["next"]})).json()
    assert second["next"] is None
    messages = first["messages"] + second["messages"]
    assert [each["role"] for each in messages] == ["user", "assistant"] * 2
    assert messages[1]["citations"] == [cited.model_dump(mode="json")]
    assert messages[1]["request_id"] == str(talk.said[0].request_id)

    async def rated() -> bool:
        told = (await client.get(f"{talk.path}/messages")).json()["messages"]
        return [each["rating"] for each in told] == [None, "down", None, None]

    rating = {"request_id": str(talk.said[0].request_id), "rating": "down"}
    assert (await client.post("/v1/feedback", json=rating)).status_code == 202
    await eventually(rated, within=60)
    messages[1]["rating"] = "down"

    renamed = await client.patch(talk.path, json={"title": " Ada’s\nprogram ", "archived": True})
    assert renamed.status_code == 200, renamed.text
    assert (renamed.json()["title"], renamed.json()["archived"]) == ("Ada’s program", True)
    assert (await client.get("/v1/conversations")).json()["conversations"] == []
    put_away = (await client.get("/v1/conversations", params={"archived": "true"})).json()["conversations"]
    assert [each["title"] for each in put_away] == ["Ada’s program"]

    table = await client.get(f"{talk.path}/export", params={"format": "csv"})
    assert table.headers["content-disposition"].startswith('attachment; filename="ada-s-program.csv"')
    rows = list(csv.DictReader(io.StringIO(table.text.removeprefix("\ufeff"), newline="")))
    assert [row["content"] for row in rows][1] == "'=Ada Lovelace [1]."
    whole = (await client.get(f"{talk.path}/export")).json()
    assert whole["messages"] == messages
    text = await client.get(f"{talk.path}/export", params={"format": "markdown"})
    assert text.headers["content-type"].startswith("text/markdown")
    assert "In 1843." in text.text

    await talk.say("Is it open again?", "It is.")
    assert (await client.get(talk.path)).json()["archived"] is False


async def test_a_deleted_conversation_is_gone_is_proven_gone_and_stays_gone(
    talk: Talk, pool: asyncpg.Pool, workspace: str
) -> None:
    client = talk.client
    await talk.say("What is the secret?", "An albatross.")
    await talk.say("Really?", "Really.")
    before = (await client.get(f"{talk.path}/receipts")).json()
    assert (before["deleted"], before["receipts"]) == (False, [])
    deleted = await client.delete(talk.path)
    assert deleted.status_code == 202
    for path in (talk.path, f"{talk.path}/messages", f"{talk.path}/export"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "conversation_not_found")

    async def proven() -> dict[str, object] | None:
        told = (await client.get(f"{talk.path}/receipts")).json()
        assert told["deleted"] is True
        return told["receipts"][0] if told["receipts"] else None

    receipt = await eventually(proven, within=60)
    assert receipt is not None
    assert (receipt["sink"], receipt["event_id"]) == ("archivist", deleted.json()["event_id"])
    assert (receipt["outcome"], receipt["parts"]) == ("applied", 2)

    # The same interactions once more, as a replay brings them; a sentinel behind them in the same partition.
    for body in talk.said:
        await talk.put(body)
    sentinel = talk.said[0].model_copy(update={"request_id": uuid4(), "workspace": workspace})
    await talk.put(sentinel)
    other = Talk(talk.publisher, client, workspace)
    for _ in range(6):
        await other.say("Sentinel?", "Yes.")
    await eventually(lambda: nothing_waits(pool, workspace), within=60)
    assert (await client.get("/v1/conversations", params={"query": "albatross"})).json()["conversations"] == []
    assert (await client.get(talk.path)).status_code == 404
    for path, body in (
        ("/v1/chat", {"message": "Hello again?", "conversation_id": str(talk.id)}),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "Hi"}], "millrace": {"conversation_id": str(talk.id)}},
        ),
    ):
        assert (await client.post(path, json=body)).status_code == 404
    assert (await client.delete(talk.path)).status_code == 404


async def nothing_waits(pool: asyncpg.Pool, workspace: str) -> bool:
    kept = await pool.fetchval("select count(*) from interactions where workspace = $1", workspace)
    return bool(kept == 6)


async def test_nobody_elses_conversation_can_be_seen_or_changed(talk: Talk, stranger: httpx.AsyncClient) -> None:
    await talk.say("Ours?", "Ours.")
    never = f"/v1/conversations/{uuid4()}"
    for method, suffix, body in (
        ("GET", "", None),
        ("GET", "/messages", None),
        ("GET", "/export", None),
        ("GET", "/receipts", None),
        ("PATCH", "", {"title": "Stolen"}),
        ("DELETE", "", None),
    ):
        theirs = await stranger.request(method, talk.path + suffix, json=body)
        nobodys = await stranger.request(method, never + suffix, json=body)
        assert theirs.status_code == nobodys.status_code == 404
        assert {**theirs.json(), "instance": ""} == {**nobodys.json(), "instance": ""}
    assert (await stranger.get("/v1/conversations", params={"query": "ours"})).json()["conversations"] == []
    assert (await talk.client.get(talk.path)).json()["title"] == "Ours?"


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("", {"limit": 0}),
        ("", {"limit": 201}),
        ("", {"query": "x" * 501}),
        ("", {"cursor": "nonsense"}),
        ("", {"cursor": "WyIyMDI2LTAxLTAxVDAwOjAwOjAwIiwgIjAwMDAwMDAwLTAwMDAtMDAwMC0wMDAwLTAwMDAwMDAwMDAwMCJd"}),
        ("", {"archived": "perhaps"}),
        ("/nonsense", {}),
        (f"/{UUID(int=1)}/messages", {"cursor": "e30="}),
        (f"/{UUID(int=1)}/export", {"format": "exe"}),
    ],
)
async def test_what_cannot_be_meant_is_refused(client: httpx.AsyncClient, path: str, query: dict[str, object]) -> None:
    answer = await client.get(f"/v1/conversations{path}", params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [{}, {"title": ""}, {"title": " \n"}, {"title": "x" * 201}, {"title": None}, {"archived": "x"}, {"id": 1}, []],
)
async def test_a_change_that_says_nothing_is_refused(client: httpx.AsyncClient, body: object) -> None:
    answer = await client.patch(f"/v1/conversations/{uuid4()}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_without_an_archivist_a_change_is_accepted_and_told_as_it_will_be(
    talk: Talk, surroundings: Environment, key: str, tmp_path: Path
) -> None:
    await talk.say("Named?", "Not yet.")
    patient = {**surroundings, "MILLRACE_CHANGE_WAIT_S": "0"}
    async with running(patient, tmp_path) as hasty, hasty.client(key) as client:
        answer = await client.patch(talk.path, json={"title": "Named"})
        assert answer.status_code in {200, 202}
        assert answer.json()["title"] == "Named"
    await eventually(lambda: named(talk, "Named"), within=60)


async def named(talk: Talk, title: str) -> bool:
    return bool((await talk.client.get(talk.path)).json()["title"] == title)


async def begun(client: httpx.AsyncClient, path: str, body: dict[str, object]) -> UUID:
    """Ask, and hang up once the conversation is known; return its id."""
    async with client.stream("POST", path, json=body) as response:
        assert response.status_code == 200, await response.aread()
        async for line in response.aiter_lines():
            if line.startswith("data: ") and "conversation_id" in line:
                return UUID(json.loads(line.removeprefix("data: "))["conversation_id"])
    raise AssertionError("the stream told of no conversation")


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
async def test_a_conversation_deleted_while_its_first_answer_is_written_stays_deleted(
    talk: Talk, *, named: bool, at_once: bool
) -> None:
    """The answer comes to the archive after the deletion, in whichever order the archivist reads the two."""
    client, own = talk.client, {"conversation_id": str(uuid4())} if named else {}
    talk.id = await begun(client, "/v1/chat", {"message": "Who is there?", "stream": True} | own)
    path = f"/v1/conversations/{talk.id}"
    answer = talk.interaction("Who is there?", "Somebody.")
    if at_once:
        _, deleted = await asyncio.gather(talk.publisher.publish(*talk.event(answer), 0), client.delete(path))
    else:
        deleted = await client.delete(path)
        await talk.publisher.publish(*talk.event(answer), 0)
    assert deleted.status_code == 202, deleted.text
    await following(talk)
    assert str(talk.id) not in (await client.get("/v1/conversations")).text
    for method, at in (("GET", path), ("GET", f"{path}/messages"), ("GET", f"{path}/export"), ("DELETE", path)):
        assert (await client.request(method, at)).json()["code"] == "conversation_not_found", at
    again = await client.post("/v1/chat", json={"message": "Again?", "conversation_id": str(talk.id)})
    assert again.json()["code"] == "conversation_not_found"
    receipts = (await client.get(f"{path}/receipts")).json()
    assert receipts["deleted"] is True


async def test_a_conversation_is_named_while_its_first_answer_is_written(
    talk: Talk, stranger: httpx.AsyncClient
) -> None:
    talk.id = await begun(talk.client, "/v1/chat", {"message": "Who is there?", "stream": True})
    path = f"/v1/conversations/{talk.id}"
    for method in (stranger.patch(path, json={"title": "Mine"}), stranger.delete(path)):
        assert (await method).json()["code"] == "conversation_not_found"
    renamed = await talk.client.patch(path, json={"title": "Visitors"})
    assert (renamed.status_code, renamed.json()["title"]) == (202, "Visitors")
    talk.path = path
    await talk.say("Who is there?", "Somebody.")
    assert (await talk.client.get(path)).json()["title"] == "Visitors"


async def following(talk: Talk) -> None:
    """Return once the archivist has read what was put into partition 0 before."""
    marker = Talk(talk.publisher, talk.client, talk.workspace)
    body = marker.interaction("Marker?", "Here.")
    await marker.publisher.publish(*marker.event(body), 0)
    await eventually(marker.arrived, within=60)


async def test_what_was_never_begun_cannot_be_deleted(client: httpx.AsyncClient) -> None:
    made_up = UUID(int=uuid4().int & ~(0xF << 76) | 8 << 76)
    for unknown in (uuid4(), made_up):
        response = await client.delete(f"/v1/conversations/{unknown}")
        assert response.json()["code"] == "conversation_not_found"
