from datetime import timedelta
from itertools import permutations
from uuid import UUID, uuid4

import pytest

from infra.postgres.explanations import explanation_of
from schemas.chat import Citation, Generation, PromptParts, ReplyError, Usage
from schemas.interactions import Parameters, UsedChunk
from tests.deliveries import delivery
from tests.events import AT
from tests.live.workers.archivist.said import CONVERSATION, asked
from workers.archivist.idle import Tools
from workers.archivist.store import Pool
from workers.archivist.worker import archive, open_tools


async def titled(pool: Pool, workspace: str) -> list[tuple[object, ...]]:
    rows = await pool.fetch("select title, created_at, updated_at from conversations where workspace = $1", workspace)
    return [tuple(row.values()) for row in rows]


async def test_an_interaction_is_kept_whole(pool: Pool, tools: Tools, workspace: str) -> None:
    document = uuid4()
    citation = Citation(number=1, document_id=document, version=2, start=0, end=3, quote="abc", title="T\x00")
    body = asked(
        workspace,
        "Why?",
        0,
        citations=(citation,),
        passages=(document, UUID(int=3)),
        abstained=True,
        index_id="main",
        model="m",
        served_by="extractive",
        usage=Usage(prompt_tokens=5, completion_tokens=6),
        error=ReplyError(code="late", detail="too late"),
    )
    await archive([delivery(body)], tools)
    (row,) = await pool.fetch("select * from interactions where workspace = $1", workspace)
    assert (row["request_id"], row["conversation_id"], row["question"]) == (body.request_id, CONVERSATION, "Why?")
    assert row["answer"] == "To Why?"
    assert row["citations"] == [{**citation.model_dump(mode="json"), "title": "T\ufffd"}]
    assert row["passages"] == [document, UUID(int=3)]
    assert (row["abstained"], row["index_id"], row["model"], row["served_by"]) == (True, "main", "m", "extractive")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (5, 6)
    assert row["error"] == {"code": "late", "detail": "too late"}
    assert (row["asked_at"], row["answered_at"]) == (AT, AT + timedelta(seconds=2))


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "in one batch"])
async def test_every_order_gives_the_same_archive(pool: Pool, tools: Tools, together: bool) -> None:
    for order in permutations(range(4)):
        workspace = f"w{uuid4().hex}"
        first = asked(workspace, "First?", 0)
        again = first.model_copy(update={"answer": "Answered twice", "answered_at": AT + timedelta(seconds=5)})
        bodies = [first, asked(workspace, "Second?", 10), asked(workspace, "Third?", 20), again]
        deliveries = [delivery(bodies[position]) for position in order]
        for batch in [deliveries] if together else [[one] for one in deliveries]:
            await archive(batch, tools)
        assert await titled(pool, workspace) == [("First?", AT, AT + timedelta(seconds=22))], order
        rows = await pool.fetch("select answer from interactions where workspace = $1 order by asked_at", workspace)
        assert [row["answer"] for row in rows] == ["To First?", "To Second?", "To Third?"], order


async def test_the_same_conversation_id_in_two_workspaces_is_two_conversations(
    pool: Pool, tools: Tools, workspace: str
) -> None:
    ours, theirs = asked(workspace, "Ours?", 0), asked(f"{workspace}b", "Theirs?", 0)
    await archive([delivery(ours), delivery(theirs)], tools)
    assert [title for title, *_ in await titled(pool, workspace)] == ["Ours?"]
    stolen = asked(f"{workspace}b", "Stolen?", 0, request_id=ours.request_id, answered_at=AT)
    await archive([delivery(stolen)], tools)
    assert await pool.fetchval("select question from interactions where request_id = $1", ours.request_id) == "Ours?"


async def test_nothing_to_write_is_no_statement(tools: Tools) -> None:
    assert list(await archive([], tools)) == []


async def test_the_tools_come_from_the_environment(postgres: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_DSN", postgres["POSTGRES_DSN"])
    async with open_tools() as opened:
        assert await opened.pool.fetchval("select 1") == 1


async def test_what_an_answer_was_made_of_is_kept(pool: Pool, tools: Tools, workspace: str) -> None:
    chunk = UsedChunk(number=1, chunk_id=uuid4(), document_id=uuid4(), version=3, ordinal=2, start=5, end=9, score=0.75)
    body = asked(
        workspace,
        "Why?",
        0,
        request_at="chat.requests:1:10",
        prompt_at="chat.prompts:2:20",
        chunks=(chunk,),
        parts=PromptParts(budget=3_000, retrieved=40, dropped_messages=2),
        parameters=Parameters(model="m", top_k=9, generation=Generation(temperature=0.5, stop=("\x00",))),
        adapter="acme-support",
        degraded=True,
    )
    await archive([delivery(body)], tools)
    told = await explanation_of(pool, body.request_id, workspace)
    assert told is not None
    assert (told.request_place, told.prompt_place) == ("chat.requests:1:10", "chat.prompts:2:20")
    assert told.retrieved == [chunk.model_dump(mode="json")]
    assert (told.parts["retrieved"], told.parts["dropped_messages"]) == (40, 2)
    assert (told.parameters["top_k"], told.parameters["generation"]["stop"]) == (9, ["\ufffd"])
    assert (told.adapter, told.degraded) == ("acme-support", True)
    assert await explanation_of(pool, body.request_id, f"{workspace}b") is None
    assert await explanation_of(pool, body.request_id, None) == told


async def test_an_answer_from_before_is_explained_as_far_as_it_goes(pool: Pool, tools: Tools, workspace: str) -> None:
    body = asked(workspace, "Why?", 0)
    await archive([delivery(body)], tools)
    told = await explanation_of(pool, body.request_id, workspace)
    assert told is not None
    assert (told.prompt_place, told.retrieved, told.parameters, told.parts) == ("", [], {}, {})
