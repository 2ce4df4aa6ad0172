"""Documents and conversations as readers see them."""

from uuid import uuid4

from infra.postgres.answers import finished
from infra.postgres.conversations import history
from infra.postgres.corpus import find_document, list_documents
from infra.postgres.turns import turns_until
from tests.live.postgres import rows
from tests.live.postgres.conftest import Pool

ROOM = 12_000
"""Characters of history."""


async def test_a_document_is_read_whole(pool: Pool, workspace: str) -> None:
    document_id = await rows.document(pool, workspace)
    found = await find_document(pool, workspace, document_id)
    assert found is not None
    assert (found.text, found.version, found.metadata) == ("The whole text.", 5, {"team": "a"})
    assert found.authors[0]["name"] == "Ada"


async def test_the_deleted_and_the_foreign_are_not_there(pool: Pool, workspace: str) -> None:
    deleted = await rows.document(pool, workspace, deleted=True)
    foreign = await rows.document(pool, f"{workspace}-2")
    assert await find_document(pool, workspace, deleted) is None
    assert await find_document(pool, workspace, foreign) is None
    assert await list_documents(pool, workspace) == []


async def test_pages_hold_each_document_once(pool: Pool, workspace: str) -> None:
    made = {await rows.document(pool, workspace, f"src_{number % 3}") for number in range(11)}
    seen: list[object] = []
    after = None
    while page := await list_documents(pool, workspace, after=after, limit=4):
        assert all(document.text == "" for document in page)
        seen += [document.document_id for document in page]
        after = (page[-1].source, page[-1].document_id)
    assert len(seen) == 11
    assert set(seen) == made


async def test_lists_are_narrowed_by_source_and_kind(pool: Pool, workspace: str) -> None:
    issue = await rows.document(pool, workspace, "src_b", kind="issue")
    await rows.document(pool, workspace, "src_b")
    await rows.document(pool, workspace, "src_c", kind="issue")
    found = await list_documents(pool, workspace, source="src_b", kind="issue")
    assert [document.document_id for document in found] == [issue]


async def test_history_is_the_last_turns_oldest_first(pool: Pool, workspace: str) -> None:
    conversation = uuid4()
    for number in range(4):
        await rows.turn(pool, workspace, conversation, number)
    await rows.turn(pool, workspace, conversation, 5, error={"code": "x", "detail": "y"})
    told = [(message.role, message.content) for message in await history(pool, workspace, conversation, 2, 12_000)]
    assert told == [("user", "q2"), ("assistant", "a2"), ("user", "q3"), ("assistant", "a3")]


async def test_history_is_bounded(pool: Pool, workspace: str) -> None:
    conversation = uuid4()
    await rows.turn(pool, workspace, conversation, 1, answer="x" * 12_000)
    await rows.turn(pool, workspace, conversation, 2)
    assert [message.content for message in await history(pool, workspace, conversation, 10, 12_000)] == ["q2", "a2"]


async def test_a_conversation_of_another_workspace_is_empty(pool: Pool, workspace: str) -> None:
    conversation = uuid4()
    await rows.turn(pool, f"{workspace}-2", conversation, 1)
    assert await history(pool, workspace, conversation, 10, 12_000) == []
    await rows.turn(pool, workspace, conversation, 2)
    assert [message.content for message in await history(pool, workspace, conversation, 10, 12_000)] == ["q2", "a2"]


async def test_a_finished_answer_is_read_by_its_request(pool: Pool, workspace: str) -> None:
    conversation = uuid4()
    cited = {"number": 1, "document_id": str(uuid4()), "version": 3, "start": 0, "end": 2, "quote": "a1"}
    good = await rows.turn(pool, workspace, conversation, 1, citations=[cited])
    bad = await rows.turn(pool, workspace, conversation, 2, answer="", error={"code": "cancelled", "detail": "d"})
    found = await finished(pool, workspace, good)
    assert found is not None
    assert (found.question, found.reply.kind, found.reply.text) == ("q1", "final", "a1")
    assert (found.reply.conversation_id, found.reply.citations[0].quote) == (conversation, "a1")
    failed = await finished(pool, workspace, bad)
    assert failed is not None
    assert (failed.reply.kind, failed.reply.error and failed.reply.error.code) == ("error", "cancelled")
    assert await finished(pool, f"{workspace}-2", good) is None
    assert await finished(pool, workspace, uuid4()) is None


async def test_turns_end_with_the_answer_that_is_named(pool: Pool, workspace: str) -> None:
    conversation = uuid4()
    asked = [await rows.turn(pool, workspace, conversation, number) for number in range(4)]
    failed = await rows.turn(pool, workspace, conversation, 5, error={"code": "x", "detail": "y"})
    found = await turns_until(pool, workspace, asked[2], 2, ROOM)
    assert found is not None
    assert found.conversation_id == conversation
    assert [message.content for message in found.messages] == ["q1", "a1", "q2", "a2"]
    assert (await turns_until(pool, workspace, asked[0], 0, ROOM)) is not None
    for request_id in (failed, uuid4()):
        assert await turns_until(pool, workspace, request_id, 2, ROOM) is None
    assert await turns_until(pool, f"{workspace}-2", asked[2], 2, ROOM) is None


async def test_turns_are_bounded(pool: Pool, workspace: str) -> None:
    conversation = uuid4()
    await rows.turn(pool, workspace, conversation, 1, answer="x" * ROOM)
    last = await rows.turn(pool, workspace, conversation, 2)
    found = await turns_until(pool, workspace, last, 10, ROOM)
    assert found is not None
    assert [message.content for message in found.messages] == ["q2", "a2"]
