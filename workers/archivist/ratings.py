"""Keeps the last rating of each answer, in any order of arrival; of an answer that is not there (it was deleted, or was
nothing but calls of tools), none.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from infra.postgres.columns import columns, storable
from infra.postgres.pool import translated
from schemas.feedback import Feedback
from workers.archivist.rows import InteractionRow
from workers.archivist.store import Pool

_FEEDBACK = """
insert into feedback as held (workspace, request_id, rating, comment, given_by, given_at, event_id)
select distinct on (workspace, request_id) workspace, request_id, rating, comment, given_by, given_at, event_id
from unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::uuid[])
  as t (workspace, request_id, rating, comment, given_by, given_at, event_id)
order by workspace, request_id, given_at desc, event_id desc
on conflict (workspace, request_id) do update set
    rating = excluded.rating, comment = excluded.comment, given_by = excluded.given_by, given_at = excluded.given_at,
    event_id = excluded.event_id
where (excluded.given_at, excluded.event_id) > (held.given_at, held.event_id)
"""

# A tombstone is given later than any rating, so the rule above keeps it, whatever comes when.
_TOMBSTONE = """
insert into feedback (workspace, request_id, rating, comment, given_by, given_at, event_id)
select workspace, request_id, null, '', '', 'infinity', '00000000-0000-0000-0000-000000000000' from {said}
order by workspace, request_id
on conflict (workspace, request_id) do update set
    rating = null, comment = '', given_by = '', given_at = excluded.given_at, event_id = excluded.event_id
"""
_WITHDRAW = _TOMBSTONE.format(said="interactions where workspace = $1 and conversation_id = $2")
_WITHDRAW_LATE = _TOMBSTONE.format(
    said="""(
    select distinct t.workspace, t.request_id
    from unnest($1::text[], $2::uuid[], $3::uuid[]) as t (workspace, request_id, conversation_id)
    join conversations c using (workspace, conversation_id) where c.deleted_at is not null) late"""
)


_WITHDRAW_UNKEPT = _TOMBSTONE.format(
    said="(select distinct * from unnest($1::text[], $2::uuid[]) as t (workspace, request_id)) unkept"
)


class RatingRow(NamedTuple):
    """A rating."""

    workspace: str
    request_id: UUID
    rating: str
    comment: str
    given_by: str
    given_at: datetime
    event_id: UUID


def rating_row(given: Feedback) -> RatingRow:
    """Return the row of a rating."""
    comment = storable(given.comment)
    return RatingRow(
        given.workspace, given.request_id, given.rating, comment, storable(given.by), given.given_at, given.event_id
    )


@translated
async def write_ratings(pool: Pool, ratings: Iterable[RatingRow]) -> None:
    """Write ratings. Raises Transient, Permanent."""
    rows = list(ratings)
    if rows:
        await pool.execute(_FEEDBACK, *columns(rows))


async def withdraw(connection: Any, workspace: str, conversation_id: UUID) -> None:
    """Withdraw the ratings of a conversation's answers, those that are yet to come too; before the answers go."""
    await connection.execute(_WITHDRAW, workspace, conversation_id)


@translated
async def withdraw_late(pool: Pool, answers: Sequence[InteractionRow]) -> None:
    """Withdraw the ratings of `answers` that come after the deletion of their conversation.

    Raises Transient, Permanent.
    """
    if answers:
        places = [(answer.workspace, answer.request_id, answer.conversation_id) for answer in answers]
        await pool.execute(_WITHDRAW_LATE, *columns(places))


@translated
async def withdraw_unkept(pool: Pool, requests: Sequence[tuple[str, UUID]]) -> None:
    """Withdraw the ratings of requests (workspace, id) whose answers are not archived: no deletion would find them.

    Raises Transient, Permanent.
    """
    if requests:
        await pool.execute(_WITHDRAW_UNKEPT, *columns(requests))
