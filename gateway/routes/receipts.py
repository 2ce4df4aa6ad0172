"""What each sink did with a document, and whether its deletion has reached them all."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from gateway.auth import NEEDS_KEY, Caller
from gateway.connections import Held
from gateway.documenting import AUTHENTICATED, problems
from gateway.problems import Code, Problem
from infra.postgres.receipts import document_receipts

router = APIRouter(tags=["documents"], dependencies=[NEEDS_KEY])


class ReceiptShown(BaseModel):
    """What one sink did with one version."""

    model_config = ConfigDict(from_attributes=True)

    sink: str
    version: int
    operation: Literal["upsert", "delete"]
    outcome: str
    parts: int
    event_id: UUID
    at: datetime


class DeletionShown(BaseModel):
    """The latest deletion. `confirmed`: when each sink had carried it out, null where it has not yet."""

    model_config = ConfigDict(from_attributes=True)

    version: int
    event_id: UUID | None
    confirmed: dict[str, datetime | None]
    complete: bool


class ReceiptsOfDocument(BaseModel):
    """What all sinks say of a document. `version` and `deleted`: its present state."""

    document_id: UUID
    version: int | None
    deleted: bool | None
    receipts: list[ReceiptShown]
    deletion: DeletionShown | None


@router.get(
    "/v1/documents/{document_id}/receipts",
    response_model=ReceiptsOfDocument,
    responses=problems(*AUTHENTICATED, Code.DOCUMENT_NOT_FOUND, Code.INVALID_REQUEST),
)
async def read_receipts(document_id: UUID, caller: Caller, held: Held) -> ReceiptsOfDocument:
    """Prove what became of a document, a deleted one too: each sink's receipt per version and operation."""
    found = await document_receipts(held.pool, caller.workspace, document_id)
    if found is None:
        raise Problem(Code.DOCUMENT_NOT_FOUND)
    return ReceiptsOfDocument(
        document_id=document_id,
        version=found.version,
        deleted=found.deleted,
        receipts=[ReceiptShown.model_validate(receipt) for receipt in found.receipts],
        deletion=DeletionShown.model_validate(found.deletion) if found.deletion else None,
    )
