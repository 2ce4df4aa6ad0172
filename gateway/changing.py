"""Changes conversations: onto the log, then a bounded wait for the archivist, who alone writes them."""

import asyncio
from datetime import datetime
from uuid import UUID, uuid4

from gateway.accepting import PRODUCER
from gateway.connections import Connections
from infra.errors import Transient
from infra.kafka.codec import new_envelope
from infra.postgres.conversations import is_applied
from infra.telemetry.logs import logger
from infra.telemetry.tracing import inject
from schemas.conversations import ConversationChange
from schemas.event import now
from topics.catalogue import CONVERSATION_CHANGES

log = logger(__name__)

_LOOK_EVERY_S = 0.05


async def begun_at(held: Connections, workspace: str, conversation_id: UUID) -> datetime | None:
    """Return when a conversation was begun that nothing is archived of yet; None for one that is not known, or deleted.

    Its id says so itself, or is remembered: here, and for all gateways beside the cache. Raises Transient.
    """
    if await held.is_deleted(workspace, conversation_id):
        return None
    issued = held.conversation_ids.read(workspace, conversation_id)
    known = issued.at if issued else held.begun.at((workspace, conversation_id))
    if known is not None:
        return known
    try:
        return await held.asked.begun(workspace, conversation_id)
    except Transient as error:
        log.warning("other gateways' conversations are not known", dependency=error.dependency, cause=error.detail)
        return None


async def edit(
    held: Connections, workspace: str, conversation_id: UUID, *, title: str | None, archived: bool | None, by: str
) -> bool:
    """Rename, put away or bring back; return whether that is done already. Raises Transient("kafka")."""
    change = ConversationChange(
        workspace=workspace,
        change_id=uuid4(),
        conversation_id=conversation_id,
        operation="edit",
        title=title,
        archived=archived,
        by=by,
        at=now(),
    )
    await _put(held, change)
    return await _applied(held, change.change_id)


async def delete(held: Connections, workspace: str, conversation_id: UUID, by: str) -> UUID:
    """Delete; return the event's id once the log holds it and the archivist has had its time. Raises Transient."""
    change = ConversationChange(
        workspace=workspace, change_id=uuid4(), conversation_id=conversation_id, operation="delete", by=by, at=now()
    )
    await _put(held, change)
    await _applied(held, change.change_id)
    return change.change_id


async def _put(held: Connections, change: ConversationChange) -> None:
    envelope = new_envelope(change, id=change.change_id, source=PRODUCER, trace=inject())
    await held.publisher.publish(CONVERSATION_CHANGES, change, envelope)


async def _applied(held: Connections, change_id: UUID) -> bool:
    """Wait for the archivist. A database that is away now changes nothing about what the log holds."""
    try:
        async with asyncio.timeout(held.settings.change_wait_s):
            while True:
                if await is_applied(held.pool, change_id):
                    return True
                await asyncio.sleep(_LOOK_EVERY_S)
    except (TimeoutError, Transient):
        return False
