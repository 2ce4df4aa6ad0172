"""Valid events for tests, made from the few facts that a test cares about."""

from datetime import UTC, datetime

from schemas.documents import Chunk, DocumentVersion
from schemas.ids import document_id, event_id
from schemas.raw import RawEvent
from schemas.receipts import Receipt

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def raw_event(delivery: str = "d1", *, workspace: str = "acme", source: str = "src_a", **fields: object) -> RawEvent:
    """Return an accepted delivery of `source`."""
    values: dict[str, object] = {
        "connector": "generic",
        "received_at": AT,
        "event_id": event_id(workspace, source, delivery),
        "body": b"{}",
    }
    return RawEvent.model_validate({**values, "workspace": workspace, "source": source, "delivery": delivery, **fields})


def document(
    text: str = "A text.", *, version: int = 1, workspace: str = "acme", external_id: str = "1", **fields: object
) -> DocumentVersion:
    """Return a document version of one chunk; empty text makes a deletion."""
    values: dict[str, object] = {
        "document_id": document_id(workspace, "src_a", external_id),
        "event_id": event_id(workspace, "src_a", f"{external_id}/{version}"),
        "source": "src_a",
        "connector": "generic",
        "operation": "upsert" if text else "delete",
        "text": text,
        "chunks": (Chunk(ordinal=0, start=0, end=len(text)),) if text else (),
        "received_at": AT,
    }
    return DocumentVersion.model_validate(
        {**values, "workspace": workspace, "external_id": external_id, "version": version, **fields}
    )


def receipt(version: DocumentVersion, sink: str = "graph_builder", **fields: object) -> Receipt:
    """Return the receipt of `sink` for `version`."""
    values: dict[str, object] = {
        "workspace": version.workspace,
        "sink": sink,
        "event_id": version.event_id,
        "source": version.source,
        "outcome": "applied",
        "document_id": version.document_id,
        "version": version.version,
        "operation": version.operation,
        "at": AT,
    }
    return Receipt.model_validate({**values, **fields})
