"""Keeps the last rating of each answer, in any order of arrival."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from infra.postgres.columns import columns, storable
from infra.postgres.pool import translated
from schemas.feedback import Feedback
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
