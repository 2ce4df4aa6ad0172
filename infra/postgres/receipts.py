"""What each sink says of a document: receipts, and whether its latest deletion has reached every sink."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import asyncpg

from infra.postgres.pool import translated
from infra.postgres.progress import GRAPH_SINK
from infra.redis.kept_answers import LONGEST_TTL_S
from schemas.event import now

LEDGER_SINK = "ledger"
"""Holds each document's text for reading (table `documents`); confirms deletions only."""
CACHE_SINK = "answer_cache"
"""Holds answers that were made of documents (`infra.redis.kept_answers`); confirms deletions only."""
EXPIRED_AFTER = timedelta(seconds=2 * LONGEST_TTL_S)
"""So long after a deletion no answer can be left that was made of the document, whoever has said so or not: deletions
from before that sink existed are not waited for."""

_RECEIPTS = """
select sink, version, operation, outcome, parts, event_id, at from receipts
where workspace = $1 and document_id = $2 order by version, operation, at, sink
"""
_PRESENT = "select version, deleted from documents where workspace = $1 and document_id = $2"
_SINKS = "select 'embedder/' || index_id from indexes where state <> 'retired' order by 1"


@dataclass(frozen=True, slots=True)
class SinkReceipt:
    """What one sink did with one version. `stale`: it held a newer one already, so this one is not in it either."""

    sink: str
    version: int
    operation: Literal["upsert", "delete"]
    outcome: str
    parts: int
    event_id: UUID
    at: datetime


@dataclass(frozen=True, slots=True)
class Deletion:
    """The latest deletion of a document. `confirmed`: when each sink had carried it out, None where it has not yet."""

    version: int
    event_id: UUID | None
    confirmed: dict[str, datetime | None]

    @property
    def complete(self) -> bool:
        """Whether every sink has confirmed it."""
        return bool(self.confirmed) and all(self.confirmed.values())


@dataclass(frozen=True, slots=True)
class DocumentReceipts:
    """Everything that is told of a document. `version` and `deleted` are the ledger's present state, None if none."""

    version: int | None
    deleted: bool | None
    receipts: tuple[SinkReceipt, ...]
    deletion: Deletion | None


@translated
async def document_receipts(
    pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, document_id: UUID
) -> DocumentReceipts | None:
    """Return what the sinks say of a document of `workspace`, None if it has none of that id. Raises Transient."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        present = await connection.fetchrow(_PRESENT, workspace, document_id)
        rows = await connection.fetch(_RECEIPTS, workspace, document_id)
        indexes = [row[0] for row in await connection.fetch(_SINKS)]
    if present is None and not rows:
        return None
    receipts = tuple(SinkReceipt(**row) for row in rows)
    version, deleted = (present["version"], present["deleted"]) if present else (None, None)
    sinks = [*indexes, GRAPH_SINK, LEDGER_SINK, CACHE_SINK]
    return DocumentReceipts(version, deleted, receipts, deletion_of(receipts, sinks, version if deleted else None))


def deletion_of(receipts: Sequence[SinkReceipt], sinks: Sequence[str], deleted_version: int | None) -> Deletion | None:
    """Return the latest deletion that is known: of a receipt, or `deleted_version` of the ledger's own table.

    A sink that has handled any later version has let go of the deleted one too: what it says of that counts.
    """
    told = [receipt for receipt in receipts if receipt.operation == "delete"]
    version = max([receipt.version for receipt in told] + ([deleted_version] if deleted_version else []), default=None)
    if version is None:
        return None
    confirmed: dict[str, datetime | None] = dict.fromkeys(sinks)
    for receipt in receipts:
        counts = receipt.version > version or (receipt.version == version and receipt.operation == "delete")
        if receipt.sink in confirmed and counts:
            held = confirmed[receipt.sink]
            confirmed[receipt.sink] = min(held, receipt.at) if held else receipt.at
    if CACHE_SINK in confirmed and confirmed[CACHE_SINK] is None:
        confirmed[CACHE_SINK] = _expired(confirmed)
    event = next((receipt.event_id for receipt in told if receipt.version == version), None)
    return Deletion(version, event, confirmed)


_CONVERSATION = "select deleted_at is not null from conversations where workspace = $1 and conversation_id = $2"
_BURIED = """
select sink, version, operation, outcome, parts, event_id, at from conversation_receipts
where workspace = $1 and conversation_id = $2 order by version, at, sink
"""
CONVERSATIONS = "conversations"
"""Stands for a source in the receipts of deleted conversations: they come from no connector."""


@dataclass(frozen=True, slots=True)
class ConversationReceipts:
    """Whether a conversation is deleted, and which sink says so. `parts` of a receipt: the answers it removed."""

    deleted: bool
    receipts: tuple[SinkReceipt, ...]


@translated
async def conversation_receipts(
    pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, conversation_id: UUID
) -> ConversationReceipts | None:
    """Return what is told of a conversation's deletion, None if the workspace has never had it. Raises Transient."""
    deleted = await pool.fetchval(_CONVERSATION, workspace, conversation_id)
    if deleted is None:
        return None
    rows = await pool.fetch(_BURIED, workspace, conversation_id)
    return ConversationReceipts(deleted, tuple(SinkReceipt(**row) for row in rows))


def _expired(confirmed: Mapping[str, datetime | None]) -> datetime | None:
    """Return when the last kept answer has expired: it can be made no more once every index has let go."""
    others = [at for sink, at in confirmed.items() if sink != CACHE_SINK]
    last = max((at for at in others if at is not None), default=None)
    if last is None or None in others or last + EXPIRED_AFTER > now():
        return None
    return last + EXPIRED_AFTER
