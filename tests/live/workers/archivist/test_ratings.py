"""The archivist's rows of ratings, on a real database."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import UUID, uuid4

import pytest

from schemas.feedback import Feedback
from tests.deliveries import delivery
from tests.live.workers.archivist.said import asked, changed
from workers.archivist.idle import Tools
from workers.archivist.store import Pool
from workers.archivist.worker import archive, change, rate

AT = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
REQUEST = UUID(int=9)


def given(workspace: str, rating: str, after: int, number: int = 1, comment: str = "") -> Feedback:
    return Feedback.model_validate(
        {
            "workspace": workspace,
            "event_id": UUID(int=number),
            "request_id": REQUEST,
            "rating": rating,
            "comment": comment,
            "by": "key1",
            "given_at": AT + timedelta(seconds=after),
        }
    )


async def kept(pool: Pool, workspace: str) -> list[tuple[object, ...]]:
    rows = await pool.fetch(
        """select rating, comment, given_by, given_at, event_id from feedback
           where workspace = $1 and rating is not null""",
        workspace,
    )
    return [tuple(row.values()) for row in rows]


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "in one batch"])
async def test_the_last_rating_counts_in_every_order(pool: Pool, tools: Tools, together: bool) -> None:
    for order in permutations(range(4)):
        workspace = f"w{uuid4().hex}"
        ratings = [
            given(workspace, "up", 0, 4),
            given(workspace, "down", 5, 2),
            given(workspace, "up", 9, 1),
            given(workspace, "down", 9, 3, "No.\x00"),
        ]
        deliveries = [delivery(ratings[position]) for position in order]
        for batch in [deliveries] if together else [[each] for each in (*deliveries, deliveries[0])]:
            await rate(batch, tools)
        last = ("down", "No.\ufffd", "key1", AT + timedelta(seconds=9), UUID(int=3))
        assert await kept(pool, workspace) == [last], order


async def test_each_workspace_has_its_own(pool: Pool, tools: Tools) -> None:
    one, other = f"w{uuid4().hex}", f"w{uuid4().hex}"
    await rate([delivery(given(one, "up", 0)), delivery(given(other, "down", 0))], tools)
    assert [row[0] for row in await kept(pool, one)] == ["up"]
    assert [row[0] for row in await kept(pool, other)] == ["down"]


async def test_nothing_to_write_is_no_statement(tools: Tools) -> None:
    assert list(await rate([], tools)) == []


async def test_ratings_go_with_their_conversation(pool: Pool, tools: Tools) -> None:
    """A comment is as personal as what it is about."""
    workspace = f"w{uuid4().hex}"
    said = [asked(workspace, "Gone?", 0, request_id=REQUEST), asked(workspace, "Kept?", 0, conversation_id=uuid4())]
    await archive([delivery(each) for each in said], tools)
    other = given(workspace, "up", 0, 2, "Kept.").model_copy(update={"request_id": said[1].request_id})
    await rate([delivery(given(workspace, "down", 0, 1, "Gone.")), delivery(other)], tools)
    await change([delivery(changed(workspace, 5, operation="delete"))], tools)
    assert [row[:2] for row in await kept(pool, workspace)] == [("up", "Kept.")]


@pytest.mark.parametrize("order", sorted(set(permutations("adr"))), ids="".join)
async def test_no_rating_outlives_a_deletion_in_any_order(pool: Pool, tools: Tools, order: tuple[str, ...]) -> None:
    """Answer, deletion and rating come over three topics."""
    workspace = f"w{uuid4().hex}"
    for kind in (*order, "r"):
        if kind == "a":
            await archive([delivery(asked(workspace, "Gone?", 0, request_id=REQUEST))], tools)
        elif kind == "d":
            await change([delivery(changed(workspace, 5, operation="delete"))], tools)
        else:
            await rate([delivery(given(workspace, "down", 9, comment="Personal."))], tools)
    assert await kept(pool, workspace) == []
    (row,) = await pool.fetch("select comment, given_by from feedback where workspace = $1", workspace)
    assert tuple(row) == ("", "")


@pytest.mark.parametrize("order", sorted(set(permutations("ar"))), ids="".join)
async def test_no_rating_of_calls_alone_is_kept(pool: Pool, tools: Tools, order: tuple[str, ...]) -> None:
    """They are not archived: the deletion of their conversation would not find their ratings."""
    workspace = f"w{uuid4().hex}"
    call = {"id": "c1", "function": {"name": "days_left", "arguments": "{}"}}
    calls = asked(workspace, "How many?", 0, request_id=REQUEST, answer="", tool_calls=[call])
    answered = asked(workspace, "How many?", 2)
    for kind in (*order, "r"):
        if kind == "a":
            await archive([delivery(calls), delivery(answered), delivery(calls)], tools)
        else:
            await rate([delivery(given(workspace, "down", 9, comment="Personal."))], tools)
    other = given(workspace, "up", 9).model_copy(update={"request_id": answered.request_id})
    await rate([delivery(other)], tools)
    assert [row[0] for row in await kept(pool, workspace)] == ["up"]
