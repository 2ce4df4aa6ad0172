import asyncio
from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations
from typing import Any
from uuid import uuid4

import pytest

from infra.errors import Transient
from infra.kafka.worker import Delivery
from infra.postgres.conversations import Conversation, find_conversation, is_applied, is_deleted, list_conversations
from infra.postgres.messages import list_messages
from schemas.chat import Citation, ReplyError
from schemas.envelope import Envelope
from schemas.event import Event
from tests.deliveries import delivery
from tests.events import AT
from tests.eventually import eventually
from tests.live.workers.archivist.said import CONVERSATION, asked, changed
from topics.catalogue import Topic
from workers.archivist.idle import Tools, put_away, put_away_for_ever
from workers.archivist.settings import ArchivistSettings
from workers.archivist.store import Pool
from workers.archivist.worker import archive, change


async def shown(pool: Pool, workspace: str) -> Conversation | None:
    return await find_conversation(pool, workspace, CONVERSATION)


async def applied(tools: Tools, *deliveries: Delivery[Any]) -> None:
    """Hand each to its handler, one by one."""
    for each in deliveries:
        handler = change if each.origin.topic == "conversation.changes" else archive
        await handler([each], tools)


async def test_a_conversation_is_named_by_its_first_question_until_somebody_names_it(
    pool: Pool, tools: Tools, workspace: str
) -> None:
    await archive([delivery(asked(workspace, "Who wrote it?", 0))], tools)
    found = await shown(pool, workspace)
    assert found is not None
    assert (found.title, found.messages, found.archived) == ("Who wrote it?", 2, False)
    wanted = delivery(changed(workspace, 5, title="Author\x00s"))
    assert not await is_applied(pool, wanted.envelope.id)
    await change([wanted], tools)
    assert await is_applied(pool, wanted.envelope.id)
    found = await shown(pool, workspace)
    assert found is not None
    assert found.title == "Author\ufffds"


async def test_every_order_of_words_and_changes_gives_the_same_conversation(pool: Pool, tools: Tools) -> None:
    """A rebuild reads the two topics side by side; within each the order of one conversation stays."""
    for order in sorted(set(permutations("iiccc"))):
        workspace = f"w{uuid4().hex}"
        said = [delivery(asked(workspace, "First?", 0)), delivery(asked(workspace, "Second?", 10))]
        wanted = [
            delivery(changed(workspace, 5, archived=True), offset=4),
            delivery(changed(workspace, 6, title="Named"), offset=5),
            delivery(changed(workspace, 7, title="Named again"), offset=6),
        ]
        sources = {"i": iter(said), "c": iter(wanted)}
        await applied(tools, *(next(sources[kind]) for kind in order))
        found = await shown(pool, workspace)
        assert found is not None, order
        # The second question came after it was put away, so it is back.
        assert (found.title, found.archived, found.messages) == ("Named again", False, 4), order
        assert (found.created_at, found.updated_at) == (AT, AT + timedelta(seconds=12)), order


async def test_an_older_change_that_comes_late_fills_in_only_what_no_newer_one_has_said(
    pool: Pool, tools: Tools, workspace: str
) -> None:
    await applied(
        tools,
        delivery(asked(workspace, "Why?", 0)),
        delivery(changed(workspace, 7, archived=True), offset=9),
        delivery(changed(workspace, 6, title="Redriven", archived=False), offset=8),
    )
    found = await shown(pool, workspace)
    assert found is not None
    assert (found.title, found.archived) == ("Redriven", True)


async def test_what_is_deleted_stays_deleted_whatever_is_read_again(pool: Pool, tools: Tools, workspace: str) -> None:
    said = [delivery(asked(workspace, f"Question {number}?", number)) for number in range(3)]
    wanted = [
        delivery(changed(workspace, 50, title="Secret"), offset=0),
        delivery(changed(workspace, 60, operation="delete"), offset=1),
    ]
    neighbour = asked(workspace, "Kept?", 0, conversation_id=uuid4())
    await archive([*said, delivery(neighbour)], tools)
    await change(wanted[:1], tools)
    (published,) = await change(wanted[1:], tools)
    receipt: Any = published.body
    assert (receipt.sink, receipt.outcome, receipt.operation) == ("archivist", "applied", "delete")
    assert (receipt.event_id, receipt.document_id) == (wanted[1].body.change_id, CONVERSATION)
    assert (receipt.version, receipt.parts) == (2, 3)
    for _ in range(2):
        assert await shown(pool, workspace) is None
        assert await is_deleted(pool, workspace, CONVERSATION)
        assert await list_messages(pool, workspace, CONVERSATION, limit=10) == []
        kept = await list_conversations(pool, workspace, limit=10)
        assert [each.title for each in kept] == ["Kept?"]
        row = await pool.fetchrow(
            """select title, name, created_at, words::text from conversations
               where workspace = $1 and conversation_id = $2""",
            workspace,
            CONVERSATION,
        )
        assert tuple(row.values()) == ("", None, None, ""), "words outlived their conversation"
        # Everything again, and a question that was under way when it was deleted.
        await archive([*said, delivery(asked(workspace, "Late?", 61))], tools)
        await change(wanted, tools)


async def test_a_deletion_that_is_read_before_what_was_said_holds_too(pool: Pool, tools: Tools, workspace: str) -> None:
    await change([delivery(changed(workspace, 60, operation="delete"))], tools)
    await archive([delivery(asked(workspace, "Question?", 0))], tools)
    assert await shown(pool, workspace) is None
    assert await list_messages(pool, workspace, CONVERSATION, limit=10) == []


async def test_a_deletion_and_an_answer_at_the_same_moment_leave_nothing(pool: Pool, tools: Tools) -> None:
    for _ in range(20):
        workspace = f"w{uuid4().hex}"
        await archive([delivery(asked(workspace, "Before?", 0))], tools)
        await asyncio.gather(
            change([delivery(changed(workspace, 1, operation="delete"))], tools),
            archive([delivery(asked(workspace, "Meanwhile?", 2))], tools),
        )
        assert await pool.fetchval("select count(*) from interactions where workspace = $1", workspace) == 0


async def test_another_workspace_changes_nothing_here(pool: Pool, tools: Tools, workspace: str) -> None:
    await archive([delivery(asked(workspace, "Ours?", 0))], tools)
    await change([delivery(changed(f"{workspace}b", 5, operation="delete"))], tools)
    found = await shown(pool, workspace)
    assert found is not None
    assert found.messages == 2
    assert await find_conversation(pool, f"{workspace}b", CONVERSATION) is None


class Published:
    """Records what the archivist publishes by itself."""

    def __init__(self) -> None:
        self.changes: list[Delivery[Any]] = []

    async def __call__(self, topic: Topic[Any], body: Event, envelope: Envelope) -> None:
        made = delivery(body, offset=100 + len(self.changes), topic=topic)
        self.changes.append(made._replace(envelope=envelope))


async def test_what_is_idle_for_ninety_days_is_put_away_and_comes_back_with_a_word(
    pool: Pool, tools: Tools, workspace: str
) -> None:
    fresh = uuid4()
    day = 24 * 3600
    await archive(
        [delivery(asked(workspace, "Old?", 0)), delivery(asked(workspace, "Young?", 80 * day, conversation_id=fresh))],
        tools,
    )
    published = Published()
    ninety = AT + timedelta(days=90)
    await put_away(tools, published, ninety)
    assert [each for each in published.changes if each.body.workspace == workspace] == []
    await put_away(tools, published, ninety + timedelta(minutes=1))
    ours = [each for each in published.changes if each.body.workspace == workspace]
    assert [each.body.conversation_id for each in ours] == [CONVERSATION]
    await change(ours, tools)
    assert [each.title for each in await list_conversations(pool, workspace, limit=9)] == ["Young?"]
    assert [each.title for each in await list_conversations(pool, workspace, archived=True, limit=9)] == ["Old?"]
    # Put away once: not found again. A word brings it back, and so does its owner.
    again = Published()
    await put_away(tools, again, ninety + timedelta(days=1))
    assert CONVERSATION not in [each.body.conversation_id for each in again.changes if each.body.workspace == workspace]
    await archive([delivery(asked(workspace, "Still there?", 95 * day))], tools)
    found = await shown(pool, workspace)
    assert found is not None
    assert not found.archived


async def test_a_users_word_since_then_outweighs_idleness(pool: Pool, tools: Tools, workspace: str) -> None:
    await archive([delivery(asked(workspace, "Old?", 0))], tools)
    published = Published()
    await put_away(tools, published, AT + timedelta(days=91))
    idle = next(each for each in published.changes if each.body.workspace == workspace)
    # The user names it after it was looked at and before the event is read.
    await applied(tools, delivery(changed(workspace, 91 * 24 * 3600, title="Mine"), offset=7), idle)
    found = await shown(pool, workspace)
    assert found is not None
    assert (found.title, found.archived) == ("Mine", False)
    later = Published()
    await put_away(tools, later, AT + timedelta(days=92))
    assert [each for each in later.changes if each.body.workspace == workspace] == []


async def test_two_archivists_put_away_with_one_event(tools: Tools, workspace: str) -> None:
    await archive([delivery(asked(workspace, "Old?", 0))], tools)
    one, other = Published(), Published()
    for published in (one, other):
        await put_away(tools, published, AT + timedelta(days=91))
    ids = [
        {each.envelope.id for each in published.changes if each.body.workspace == workspace}
        for published in (one, other)
    ]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 1


class Interrupted(Published):
    """A log that is away at first."""

    def __init__(self) -> None:
        super().__init__()
        self.tried = 0

    async def __call__(self, topic: Topic[Any], body: Event, envelope: Envelope) -> None:
        self.tried += 1
        if self.tried == 1:
            raise Transient("kafka", "no acknowledgement")
        await super().__call__(topic, body, envelope)


async def test_it_is_looked_for_again_and_again_also_after_a_failure(pool: Pool, workspace: str) -> None:
    tools = Tools(pool, ArchivistSettings.model_validate({"MILLRACE_ARCHIVE_LOOK_EVERY_S": 0.05}))
    await archive([delivery(asked(workspace, "Old?", -400 * 24 * 3600))], tools)
    published = Interrupted()
    looking = asyncio.create_task(put_away_for_ever(tools, published))
    try:
        await eventually(lambda: workspace in [each.body.workspace for each in published.changes])
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def test_zero_days_put_nothing_away(pool: Pool, workspace: str) -> None:
    tools = Tools(pool, ArchivistSettings.model_validate({"MILLRACE_ARCHIVE_AFTER_DAYS": 0}))
    await archive([delivery(asked(workspace, "Old?", 0))], tools)
    published = Published()
    assert await put_away(tools, published, AT + timedelta(days=10_000)) == 0
    assert published.changes == []


async def ask_many(tools: Tools, workspace: str, questions: Sequence[str]) -> None:
    await archive(
        [
            delivery(asked(workspace, question, 60 * number, conversation_id=uuid4()))
            for number, question in enumerate(questions)
        ],
        tools,
    )


async def test_pages_hold_each_conversation_once_the_newest_first(pool: Pool, tools: Tools, workspace: str) -> None:
    await ask_many(tools, workspace, [f"Question {number}?" for number in range(7)])
    titles: list[str] = []
    after = None
    while page := await list_conversations(pool, workspace, after=after, limit=3):
        titles += [each.title for each in page]
        after = (page[-1].updated_at, page[-1].conversation_id)
    assert titles == [f"Question {number}?" for number in reversed(range(7))]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("deploying", ["How do deployments roll back?"]),
        ("deployment", ["How do deployments roll back?"]),
        ("größe", ["Welche Größe hat der Puffer?"]),
        ('"roll back"', ["How do deployments roll back?"]),
        ('"back roll"', []),
        ("roll -deployments", []),
        ("puffer or kafka", ["Welche Größe hat der Puffer?", "Is Kafka down?"]),
        ("!!! & | ( '", []),
        ("the", []),
        ("nul\x00l", []),
    ],
)
async def test_words_are_found_in_questions_answers_and_titles(
    pool: Pool, tools: Tools, workspace: str, query: str, found: list[str]
) -> None:
    questions = ["Is Kafka down?", "How do deployments roll back?", "Welche Größe hat der Puffer?"]
    await ask_many(tools, workspace, questions)
    await ask_many(tools, f"{workspace}b", ["How do deployments of strangers roll back?"])
    hits = await list_conversations(pool, workspace, query=query, limit=10)
    assert [each.title for each in hits] == found


@pytest.mark.parametrize(
    ("said", "queries"),
    [
        ("请解释一下水闸控制器的工作原理，以及大语言模型怎样读取水位计。", ["水闸控制器", "语言模型", "释"]),
        ("水闸控制器坏了", ["水闸 坏", '"水闸控制器坏"', "了"]),
        ("水車小屋の排水路が詰まった原因を教えてください。ＡＢＣ", ["排水路", "詰まった", "ポ or 排水路", "abc"]),
        ("กรุณาอธิบายระบบประตูน้ำของโรงสี", ["ประตูน้ำ", "โรงสี"]),
        ("Où se trouve la clé de la vanne déversoir ?", ["deversoir", "DÉVERSOIR", "clé vanne", '"vanne deversoir"']),
        ("Die Schützentafeln am Mühlwehr der Straße", ["Schützentafel", "muhlwehr", "strasse", '"Mühlweh der"']),
        ("번역을 부탁해 수문 설명서", ["번역", "수문", "설명서"]),
        ("Где ключ от ШЛЮЗА?", ["шлюза", "КЛЮЧ"]),
        ("Πού είναι το κλειδί;", ["κλειδι", "ΚΛΕΙΔΊ"]),
        ("ສະບາຍດີ ປະຕູນ້ຳ", ["ປະຕູ"]),
        ("Check 水闸v2 now", ["水闸", "v2"]),
    ],
)  # fmt: skip
async def test_words_are_found_in_every_script_and_without_accents(
    pool: Pool, tools: Tools, workspace: str, said: str, queries: list[str]
) -> None:
    await ask_many(tools, workspace, ["水位控制闸门", "Le vannier", said])
    for query in queries:
        hits = await list_conversations(pool, workspace, query=query, limit=10)
        assert [each.title for each in hits] == [said], query
    assert await list_conversations(pool, workspace, query="器闸水", limit=10) == []
    assert await list_conversations(pool, workspace, query=f"{queries[0]} -{queries[0]}", limit=10) == []


async def test_a_snippet_of_a_text_without_spaces_is_about_its_hit(pool: Pool, tools: Tools, workspace: str) -> None:
    answer = "前" * 2_000 + "水闸控制器" + "后" * 2_000
    await archive([delivery(asked(workspace, "Wo?", 0, answer=answer))], tools)
    (hit,) = await list_conversations(pool, workspace, query="水闸控制器", limit=10)
    assert hit.snippet is not None
    assert "水闸控制器" in hit.snippet
    assert len(hit.snippet) < 400


async def test_a_long_text_without_spaces_is_kept_and_found(pool: Pool, tools: Tools, workspace: str) -> None:
    # As many different pairs as a text can have: what a vector holds of it stays within its bound.
    text = "".join(chr(0x4E00 + at * 7919 % 20_000) for at in range(60_000))
    await archive([delivery(asked(workspace, text, 0, answer=text[::-1]))], tools)
    assert len(await list_conversations(pool, workspace, query=text[100:110], limit=10)) == 1


async def test_a_snippet_shows_the_hit(pool: Pool, tools: Tools, workspace: str) -> None:
    answer = "Nothing here. " * 200 + "The albatross keeps the lease. " + "Nothing there. " * 200
    await archive([delivery(asked(workspace, "Who keeps it?", 0, answer=answer))], tools)
    (hit,) = await list_conversations(pool, workspace, query="albatrosses", limit=10)
    assert hit.snippet is not None
    assert "albatross keeps" in hit.snippet
    assert len(hit.snippet) < 400
    await change([delivery(changed(workspace, 9, title="Zebra crossing"))], tools)
    (hit,) = await list_conversations(pool, workspace, query="zebra", limit=10)
    assert (hit.title, hit.snippet) == ("Zebra crossing", None)


async def test_a_text_beyond_what_search_can_hold_is_kept_whole(pool: Pool, tools: Tools, workspace: str) -> None:
    question = " ".join(f"ŵörd{number:06}" for number in range(60_000))
    await archive([delivery(asked(workspace, question, 0, answer=question))], tools)
    (asked_back, answered) = await list_messages(pool, workspace, CONVERSATION, limit=10)
    assert (asked_back.content, answered.content) == (question, question)
    assert len(await list_conversations(pool, workspace, query="ŵörd000003", limit=10)) == 1


async def test_messages_come_in_order_and_in_pages_of_any_size(pool: Pool, tools: Tools, workspace: str) -> None:
    citation = Citation(number=1, document_id=uuid4(), version=2, start=0, end=3, quote="abc")
    await archive(
        [
            delivery(asked(workspace, "One?", 0, citations=(citation,), model="m", served_by="openai")),
            delivery(asked(workspace, "Two?", 10, answer="", error=ReplyError(code="late", detail="too late"))),
        ],
        tools,
    )
    whole = await list_messages(pool, workspace, CONVERSATION, limit=10)
    assert [(each.role, each.content) for each in whole] == [
        ("user", "One?"),
        ("assistant", "To One?"),
        ("user", "Two?"),
        ("assistant", ""),
    ]
    assert [each.citations for each in whole] == [[], [citation.model_dump(mode="json")], [], []]
    assert [each.error for each in whole] == [None, None, None, {"code": "late", "detail": "too late"}]
    assert (whole[0].model, whole[1].model) == ("", "m")
    assert len({each.message_id for each in whole}) == 4
    for limit in (1, 3):
        paged, after = [], None
        while page := await list_messages(pool, workspace, CONVERSATION, after=after, limit=limit):
            paged += page
            after = page[-1].place
        assert paged == whole
    assert await list_messages(pool, f"{workspace}b", CONVERSATION, limit=10) == []
