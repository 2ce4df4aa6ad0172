"""Reads of the present documents, as the ledger holds them; every read filters by workspace."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from infra.postgres.pool import translated

_HEAD = """document_id, source, connector, external_id, event_id, version, kind, title, url, language, chunks,
    left_out, authors, metadata, created_at, updated_at, received_at"""

# Keyset pages: (source, document_id) is the order of the index documents_by_source, so page n costs what page 1 does.
_PAGE = f"""
select {_HEAD}, '' as text from documents
where workspace = $1 and not deleted
  and ($2::text is null or source = $2) and ($3::text is null or kind = $3)
  and ($4::text is null or (source, document_id) > ($4, $5))
order by source, document_id limit $6
"""  # noqa: S608 - constant column list

_ONE = f"select {_HEAD}, text from documents where workspace = $1 and document_id = $2 and not deleted"  # noqa: S608


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """The present version of a document. `text` is empty in lists."""

    document_id: UUID
    source: str
    connector: str
    external_id: str
    event_id: UUID
    version: int
    kind: str
    title: str
    url: str
    language: str
    chunks: int
    left_out: int
    authors: list[dict[str, Any]]
    metadata: dict[str, Any]
    created_at: datetime | None
    updated_at: datetime | None
    received_at: datetime
    text: str


@translated
async def find_document(
    pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, document_id: UUID
) -> StoredDocument | None:
    """Return a document of `workspace` with its text; None if it has none of that id or it was deleted."""
    row = await pool.fetchrow(_ONE, workspace, document_id)
    return StoredDocument(**row) if row else None


@translated
async def list_documents(
    pool: "asyncpg.Pool[asyncpg.Record]",
    workspace: str,
    *,
    source: str | None = None,
    kind: str | None = None,
    after: tuple[str, UUID] | None = None,
    limit: int = 50,
) -> list[StoredDocument]:
    """Return up to `limit` documents in the order of (source, document id), those beyond `after`. Raises Transient."""
    place, document_id = after or (None, None)
    rows = await pool.fetch(_PAGE, workspace, source, kind, place, document_id, limit)
    return [StoredDocument(**row) for row in rows]


@dataclass(frozen=True, slots=True)
class Named:
    """What a deletion has to say of a document; also kept of a deleted one."""

    connector: str
    external_id: str


@translated
async def deletable(pool: "asyncpg.Pool[asyncpg.Record]", workspace: str, document_id: UUID) -> Named | None:
    """Return how a document of `workspace` is named at its source, deleted or not; None if there is no row of it."""
    row = await pool.fetchrow(
        "select connector, external_id from documents where workspace = $1 and document_id = $2", workspace, document_id
    )
    return Named(**row) if row else None
