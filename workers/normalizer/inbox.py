"""Remembers where each event was first seen, so that a sender's redelivery has no effect.

Coordinates and not the id alone: our own redelivery of a record, a replay or a redrive comes from the same coordinates
and must be processed again, since its first try may have ended before its documents were published.
"""

from collections.abc import Sequence
from typing import Any

import asyncpg

from infra.kafka.worker import Delivery
from infra.postgres.pool import translated
from schemas.raw import RawEvent

CONSUMER = "normalizer"

_SEEN = """
with arrived as (
    select distinct on (event_id) event_id, partition, "offset"
    from unnest($2::uuid[], $3::int[], $4::bigint[]) as given (event_id, partition, "offset")
    order by event_id, partition, "offset"
), added as (
    insert into inbox (consumer, event_id, partition, "offset")
    select $1, event_id, partition, "offset" from arrived order by event_id
    on conflict (consumer, event_id) do nothing
    returning event_id, partition, "offset"
)
select event_id, partition, "offset" from added
union all
select event_id, partition, "offset" from inbox where consumer = $1 and event_id = any($2::uuid[])
"""


@translated
async def first_seen(pool: "asyncpg.Pool[asyncpg.Record]", deliveries: Sequence[Delivery[RawEvent]]) -> list[bool]:
    """Return for each delivery whether it stands where its event was first seen; notes those that were not known.

    Raises Transient, Permanent.
    """
    rows: list[Any] = await pool.fetch(
        _SEEN,
        CONSUMER,
        [delivery.body.event_id for delivery in deliveries],
        [delivery.origin.partition for delivery in deliveries],
        [delivery.origin.offset for delivery in deliveries],
    )
    first = {row["event_id"]: (row["partition"], row["offset"]) for row in rows}
    return [
        first[delivery.body.event_id] == (delivery.origin.partition, delivery.origin.offset) for delivery in deliveries
    ]
