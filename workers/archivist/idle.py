"""Puts conversations away in which nothing was said for long: an event each, applied like a user's own."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from infra.errors import Permanent, Transient
from infra.kafka.codec import new_envelope
from infra.kafka.worker import Publish
from infra.postgres.pool import translated
from infra.telemetry.logs import logger
from schemas.conversations import ConversationChange
from schemas.event import now
from schemas.ids import deterministic_id
from topics.catalogue import CONVERSATION_CHANGES
from workers.archivist.settings import ArchivistSettings
from workers.archivist.store import Pool

log = logger(__name__)
ENVELOPE_SOURCE = "/archivist"
AT_ONCE = 5_000
"""Conversations put away in one round, those first that have been idle for longest."""

_IDLE = """
select workspace, conversation_id, greatest(updated_at, changed_at) as since from conversations
where deleted_at is null and created_at is not null and not archived and greatest(updated_at, changed_at) < $1
order by greatest(updated_at, changed_at) limit $2
"""


@dataclass(frozen=True, slots=True)
class Tools:
    """What the archivist works with."""

    pool: Pool
    settings: ArchivistSettings


async def put_away_for_ever(tools: Tools, publish: Publish) -> None:
    """Look for idle conversations, wait, look again. A dependency that is down is waited for."""
    while True:
        try:
            await put_away(tools, publish, now())
        except (Transient, Permanent) as error:
            log.warning("idle conversations are not put away now", cause=error.detail)
        await asyncio.sleep(tools.settings.look_every_s)


async def put_away(tools: Tools, publish: Publish, moment: datetime) -> int:
    """Publish for each conversation that is idle at `moment` that it belongs in the archive; return how many.

    Raises Transient, Permanent.
    """
    if tools.settings.after is None:
        return 0
    idle = await _idle(tools.pool, moment - tools.settings.after)
    for workspace, conversation_id, since in idle:
        change = idle_change(workspace, conversation_id, since)
        await publish(CONVERSATION_CHANGES, change, new_envelope(change, id=change.change_id, source=ENVELOPE_SOURCE))
    if idle:
        log.info("idle conversations put away", conversations=len(idle))
    return len(idle)


def idle_change(workspace: str, conversation_id: UUID, since: datetime) -> ConversationChange:
    """Return what puts a conversation away that has been idle since then; each process makes the same event of it."""
    identity = deterministic_id("conversation.idle", workspace, str(conversation_id), since.isoformat())
    return ConversationChange(
        workspace=workspace,
        change_id=identity,
        conversation_id=conversation_id,
        operation="edit",
        archived=True,
        reason="idle",
        at=since,
    )


@translated
async def _idle(pool: Pool, before: datetime) -> list[tuple[str, UUID, datetime]]:
    return [tuple(row) for row in await pool.fetch(_IDLE, before, AT_ONCE)]
