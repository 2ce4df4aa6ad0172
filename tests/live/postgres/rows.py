"""Rows of the ledger and the archive, as their workers write them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

Pool = asyncpg.Pool


async def event(
    pool: Pool,
    workspace: str,
    source: str = "src_a",
    *,
    outcome: str | None = None,
    documents: Sequence[UUID] = (),
    detail: str = "",
) -> UUID:
    event_id = uuid4()
    await pool.execute(
        """insert into events (event_id, workspace, source, connector, delivery, accepted_at, outcome, documents,
                               normalised_at, detail)
           values ($1, $2, $3, 'files', 'd', $4::timestamptz, $5::text, $6,
                   case when $5::text is null then null else $4 end, $7)""",
        event_id,
        workspace,
        source,
        AT,
        outcome,
        list(documents),
        detail,
    )
    return event_id


async def receipt(pool: Pool, workspace: str, event_id: UUID, document: UUID, sink: str) -> None:
    await pool.execute(
        """insert into receipts (event_id, document_id, sink, workspace, source, version, operation, outcome, at)
           values ($1, $2, $3, $4, 'src_a', 7, 'upsert', 'applied', $5)""",
        event_id,
        document,
        sink,
        workspace,
        AT + timedelta(seconds=1),
    )


async def letter(pool: Pool, workspace: str, event_id: UUID | None, source: str = "src_a", state: str = "open") -> UUID:
    letter_id = uuid4()
    await pool.execute(
        """insert into dead_letters (letter_id, workspace, event_id, source, reason, detail, worker, attempts, topic,
               partition, "offset", letter_partition, letter_offset, first_at, last_at, state)
           values ($1, $2, $3, $4, 'invalid_json', 'the body is not JSON', 'normalizer', 1, 'raw.events', 0, 0, 0, 0,
                   $5, $5, $6)""",
        letter_id,
        workspace,
        event_id,
        source,
        AT,
        state,
    )
    return letter_id


async def document(pool: Pool, workspace: str, source: str = "src_a", **fields: Any) -> UUID:
    values: dict[str, Any] = {
        "document_id": uuid4(),
        "workspace": workspace,
        "source": source,
        "connector": "files",
        "external_id": "notes/1",
        "event_id": uuid4(),
        "version": 5,
        "kind": "file",
        "title": "Notes",
        "text": "The whole text.",
        "chunks": 1,
        "authors": [{"name": "Ada", "handle": "ada", "role": "author"}],
        "metadata": {"team": "a"},
        "received_at": AT,
    } | fields
    names = ", ".join(values)
    places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    await pool.execute(f"insert into documents ({names}) values ({places})", *values.values())  # noqa: S608
    return values["document_id"]


async def turn(pool: Pool, workspace: str, conversation: UUID, number: int, **fields: Any) -> UUID:
    request_id = uuid4()
    at = AT + timedelta(minutes=number)
    await pool.execute(
        """insert into conversations (conversation_id, workspace, created_at, updated_at) values ($1, $2, $3, $3)
           on conflict do nothing""",
        conversation,
        workspace,
        at,
    )
    await pool.execute(
        """insert into interactions (request_id, workspace, conversation_id, question, answer, error, asked_at,
               answered_at, citations) values ($1, $2, $3, $4, $5, $6, $7, $7, $8)""",
        request_id,
        workspace,
        conversation,
        fields.get("question", f"q{number}"),
        fields.get("answer", f"a{number}"),
        fields.get("error"),
        at,
        fields.get("citations", []),
    )
    return request_id


async def live_index(pool: Pool, index_id: str = "idx-live") -> str:
    """Make sure that an index is live and return the name of its embedder's sink."""
    await pool.execute(
        """insert into indexes (index_id, collection, model, dimension, state) values ($1, $1, 'm', 384, 'live')
           on conflict do nothing""",
        index_id,
    )
    live = await pool.fetchval("select index_id from indexes where state = 'live'")
    return f"embedder/{live}"
