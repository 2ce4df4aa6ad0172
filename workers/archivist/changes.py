"""Applies changes of conversations: each field takes the word of the greatest version, a deletion the last one."""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from infra.kafka.worker import Delivery
from infra.postgres.columns import storable
from infra.postgres.conversations import CONSUMER
from infra.postgres.pool import translated
from infra.postgres.receipts import CONVERSATIONS
from schemas.conversations import ConversationChange
from schemas.event import now
from schemas.receipts import Receipt
from workers.archivist.ratings import withdraw
from workers.archivist.store import Pool

# An idle conversation is put away as of its last sign of life; where a user has said anything since, it stays.
_EDIT = """
insert into conversations as held (
    workspace, conversation_id, name, name_version, archived_at, archive_version, changed_at)
values ($1, $2, $3, case when $3::text is null then 0 else $5::bigint end,
        case when $4::boolean then $6::timestamptz end, case when $4::boolean is null then 0 else $5::bigint end,
        case when $7::boolean then null else $6::timestamptz end)
on conflict (workspace, conversation_id) do update set
    name = case when excluded.name_version > held.name_version then excluded.name else held.name end,
    name_version = greatest(held.name_version, excluded.name_version),
    archived_at = case when excluded.archive_version > held.archive_version
                        and not ($7::boolean and coalesce(held.changed_at > $6::timestamptz, false))
                       then excluded.archived_at else held.archived_at end,
    archive_version = greatest(held.archive_version, excluded.archive_version),
    changed_at = greatest(held.changed_at, excluded.changed_at)
where held.deleted_at is null
"""

# The tombstone, which holds nothing that anybody said; then all that was said.
_BURY = """
insert into conversations as held (workspace, conversation_id, deleted_at) values ($1, $2, $3)
on conflict (workspace, conversation_id) do update set
    title = '', name = null, created_at = null, updated_at = null, asked_at = null, archived_at = null,
    changed_at = null, deleted_at = least(held.deleted_at, excluded.deleted_at)
"""
_FORGET = "delete from interactions where workspace = $1 and conversation_id = $2"

_SEEN = """
insert into inbox (consumer, event_id, partition, "offset")
select $1, * from unnest($2::uuid[], $3::int[], $4::bigint[]) order by 1, 2
on conflict (consumer, event_id) do nothing
"""


def version_of(delivery: Delivery[ConversationChange]) -> int:
    """Return a change's version: its place among the changes of its conversation, which share a partition."""
    return delivery.origin.offset + 1


@translated
async def apply(pool: Pool, deliveries: Sequence[Delivery[ConversationChange]]) -> list[int]:
    """Apply changes, in their order, in one transaction; return for each how many interactions it removed.

    Raises Transient, Permanent.
    """
    removed = dict.fromkeys(range(len(deliveries)), 0)
    async with pool.acquire() as connection, connection.transaction():
        # By conversation, as those who write interactions lock them; within one the order stays.
        place = attrgetter("body.workspace", "body.conversation_id")
        numbered = sorted(enumerate(deliveries), key=lambda pair: place(pair[1]))
        for _, group in groupby(numbered, key=lambda pair: place(pair[1])):
            for number, delivery in group:
                removed[number] = await _apply(connection, delivery)
        await connection.execute(
            _SEEN,
            CONSUMER,
            [delivery.envelope.id for delivery in deliveries],
            [delivery.origin.partition for delivery in deliveries],
            [delivery.origin.offset for delivery in deliveries],
        )
    return list(removed.values())


async def _apply(connection: Any, delivery: Delivery[ConversationChange]) -> int:
    change = delivery.body
    if change.operation == "delete":
        await connection.execute(_BURY, change.workspace, change.conversation_id, change.at)
        await withdraw(connection, change.workspace, change.conversation_id)
        return _count(await connection.execute(_FORGET, change.workspace, change.conversation_id))
    title = None if change.title is None else storable(change.title)
    idle = change.reason == "idle"
    version = version_of(delivery)
    given = (title, change.archived, version, change.at, idle)
    await connection.execute(_EDIT, change.workspace, change.conversation_id, *given)
    return 0


def receipt_of(delivery: Delivery[ConversationChange], removed: int) -> Receipt:
    """Return the receipt of a deletion."""
    change = delivery.body
    return Receipt(
        workspace=change.workspace,
        sink=CONSUMER,
        about="conversation",
        event_id=change.change_id,
        source=CONVERSATIONS,
        outcome="applied",
        document_id=change.conversation_id,
        version=version_of(delivery),
        operation="delete",
        parts=removed,
        at=now(),
    )


def _count(status: str) -> int:
    """Return the rows of a command's status, `DELETE 3`."""
    return int(status.rpartition(" ")[2])
