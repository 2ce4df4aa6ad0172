"""Many documents in one request: each an event of its own, with a result of its own."""

import asyncio
from typing import Any, Literal
from uuid import UUID, uuid4

import orjson
from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from gateway.accepting import accept
from gateway.auth import NEEDS_KEY, Caller
from gateway.connections import Connections, Held
from gateway.documenting import ACCEPTING, AUTHENTICATED, inlined, problems
from gateway.failures import problem_of
from gateway.problems import Code, FieldFault, Problem, invalid_field
from gateway.routes.documents import IdempotencyKey, event_of, source_of
from gateway.uploads import JSON, LINES, MAX_BATCH, BatchDocument, batched, read_batch
from infra.errors import Permanent, Transient
from schemas import ids
from schemas.raw import RawEvent

router = APIRouter(tags=["documents"], dependencies=[NEEDS_KEY])


EXAMPLE = {"text": "# Runbook\n\nRestart the login service.", "external_id": "runbooks/login"}


class Refusal(BaseModel):
    """Why a document of a batch was not accepted: the problem that it alone would have been answered with."""

    status: int
    code: str
    detail: str
    errors: list[FieldFault] | None = None


class BatchItem(BaseModel):
    """What became of one document of a batch, in the order of the request."""

    index: int
    status: Literal["accepted", "refused"]
    event_id: UUID | None = None
    document_id: UUID | None = None
    source: str | None = None
    problem: Refusal | None = None


class BatchResult(BaseModel):
    """What became of a batch. What is accepted is on the log and stays, whatever became of the others."""

    accepted: int
    refused: int
    items: list[BatchItem]


@router.post(
    "/v1/documents/batch",
    status_code=202,
    response_model=BatchResult,
    responses=problems(*AUTHENTICATED, *ACCEPTING, Code.INVALID_JSON, Code.INVALID_REQUEST, Code.UNSUPPORTED_MEDIA_TYPE)
    | {207: {"model": BatchResult, "description": "Some documents, or all, were refused; `items` says which and why."}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                JSON: {
                    "example": {"documents": [EXAMPLE, {"text": "The gate is shut at night.", "author": "Ilse Bauer"}]},
                    "schema": {
                        "type": "object",
                        "required": ["documents"],
                        "properties": {
                            "documents": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": MAX_BATCH,
                                "items": inlined(BatchDocument),
                            }
                        },
                    },
                },
                LINES[0]: {
                    "schema": {"type": "string", "description": "A document per line."},
                    "example": '{"text": "# Runbook"}\n{"text": "# Rota", "title": "Rota"}\n',
                },
            },
        }
    },
)
async def put_documents(
    request: Request, caller: Caller, held: Held, idempotency_key: IdempotencyKey = None
) -> Response:
    """Take in up to 500 texts. 202: the log holds them all; 207: `items` tells which it does not hold, and why."""
    await held.admission.admit(caller.workspace)
    items = await read_batch(request)
    if len(items) > held.admission.most:
        # Else it would be told to come again for ever.
        raise invalid_field("/documents", f"{held.admission.most} documents are taken at once here, not {len(items)}")
    # Counted one by one, taken together: a batch over the rate is refused whole, and may come again as it is.
    await held.admission.admit(caller.workspace, len(items) - 1)
    async with held.uploads:
        shown = await _accepted(held, caller.workspace, items, idempotency_key)
    refused = sum(item.status == "refused" for item in shown)
    result = BatchResult(accepted=len(shown) - refused, refused=refused, items=shown)
    return Response(
        orjson.dumps(result.model_dump(mode="json", exclude_none=True)), 207 if refused else 202, media_type=JSON
    )


async def _accepted(held: Connections, workspace: str, items: list[Any], key: str | None) -> list[BatchItem]:
    """Put all on the log: documents beside each other, states of the same document one after the other."""
    shown: dict[int, BatchItem] = {}
    waiting: dict[tuple[str, str], list[tuple[int, RawEvent]]] = {}
    known: dict[UUID, RawEvent] = {}
    for index, item in enumerate(items):
        try:
            upload, own = batched(item, index)
            source = await source_of(held, workspace, upload.description.source)
            event = await event_of(upload, source, own or (f"{key}/{index}" if key else str(uuid4())))
            _check_same(event, known.setdefault(event.event_id, event), index)
        except (Problem, Transient) as error:
            shown[index] = _refused(index, error)
            continue
        waiting.setdefault((source.source_id, event.subject), []).append((index, event))

    async def put(states: list[tuple[int, RawEvent]]) -> None:
        for index, event in states:
            shown[index] = await _put(held, index, event)

    await asyncio.gather(*(put(states) for states in waiting.values()))
    return [shown[index] for index in range(len(items))]


def _check_same(event: RawEvent, first: RawEvent, index: int) -> None:
    """Raise Problem if two documents go by one key: the second would be taken for the first, delivered again."""
    if (event.subject, event.body) != (first.subject, first.body):
        detail = "another document of this batch goes by the same key"
        raise invalid_field(f"/documents/{index}/idempotency_key", detail)


async def _put(held: Connections, index: int, event: RawEvent) -> BatchItem:
    try:
        await accept(held, event)
    except (Transient, Permanent) as error:
        return _refused(index, error)
    document = ids.document_id(event.workspace, event.source, event.subject)
    return BatchItem(index=index, status="accepted", event_id=event.event_id, document_id=document, source=event.source)


def _refused(index: int, error: Problem | Transient | Permanent) -> BatchItem:
    problem = problem_of(error)
    refusal = Refusal(
        status=problem.status_code, code=problem.code.label, detail=problem.detail, errors=problem.more.get("errors")
    )
    return BatchItem(index=index, status="refused", problem=refusal)
