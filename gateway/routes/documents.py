"""Documents: put in, listed, read, deleted. Putting in and deleting are events; the ledger tells when they are done."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

import orjson
from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import Response

from gateway.accepting import accept
from gateway.auth import NEEDS_KEY, Caller
from gateway.connections import UPLOADS, Connections, Held
from gateway.cursors import cursor_of, read_cursor
from gateway.documenting import ACCEPTING, AUTHENTICATED, problems
from gateway.problems import Code, Problem
from gateway.uploads import FORM, JSON, Description, NewDocument, Upload, read_upload
from infra.postgres.corpus import StoredDocument, find_document, list_documents
from infra.postgres.sources import Connector, Source, SourceConflictError, register_source
from schemas import ids
from schemas.event import now
from schemas.raw import RawEvent

router = APIRouter(tags=["documents"], dependencies=[NEEDS_KEY])

IdempotencyKey = Annotated[
    str | None,
    StringConstraints(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$"),
    Header(
        alias="Idempotency-Key",
        description="The same key again gives the same event, which has its effect once. Without one each call is a "
        "new version.",
    ),
]


class AcceptedUpload(BaseModel):
    """An upload that the log holds."""

    event_id: UUID
    document_id: UUID
    source: str


class AcceptedDeletion(BaseModel):
    """A deletion that the log holds."""

    event_id: UUID
    document_id: UUID


class DocumentShown(BaseModel):
    """The present version of a document."""

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
    authors: list[dict[str, Any]]
    metadata: dict[str, Any]
    created_at: datetime | None
    updated_at: datetime | None
    received_at: datetime


class DocumentWhole(DocumentShown):
    """A document with its normalised text, into which every offset points."""

    text: str


class DocumentPage(BaseModel):
    """A page of documents; `next` is the cursor of the next one, null at the end."""

    documents: list[DocumentShown]
    next: str | None


class PageWanted(BaseModel):
    """Which documents to list."""

    model_config = ConfigDict(extra="forbid")

    source: str | None = Field(default=None, max_length=200)
    kind: str | None = Field(default=None, max_length=100)
    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(default=None, max_length=500)
    """`next` of the page before."""


def _form_schema() -> dict[str, Any]:
    schema = Description.model_json_schema()
    schema["properties"]["metadata"] = {"type": "string", "description": "A JSON object."}
    schema["properties"]["file"] = {"type": "string", "format": "binary"}
    schema["required"] = ["file"]
    return schema


@router.post(
    "/v1/documents",
    status_code=202,
    response_model=AcceptedUpload,
    responses=problems(
        *AUTHENTICATED,
        *ACCEPTING,
        Code.INVALID_JSON,
        Code.INVALID_FORM,
        Code.INVALID_REQUEST,
        Code.UNSUPPORTED_MEDIA_TYPE,
        Code.SOURCE_NOT_FOUND,
        Code.SOURCE_DISABLED,
        Code.SOURCE_CONFLICT,
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": NewDocument.model_json_schema()}, FORM: {"schema": _form_schema()}},
        }
    },
)
async def put_document(
    request: Request, caller: Caller, held: Held, idempotency_key: IdempotencyKey = None
) -> Response:
    """Take in a document: text as JSON, or a file as a multipart form. 202 means that the log holds it."""
    # Before the body: one that is refused must not cost its memory.
    await held.admission.admit(caller.workspace)
    upload = await read_upload(request)
    source = await _source(held, caller.workspace, upload.description.source)
    async with held.uploads:
        event = await _event(upload, source, idempotency_key or str(uuid4()))
        await accept(held, event)
    document = ids.document_id(source.workspace, source.source_id, event.subject)
    body = {"event_id": event.event_id, "document_id": document, "source": source.source_id}
    return Response(orjson.dumps(body), 202, media_type=JSON)


async def _event(upload: Upload, source: Source, delivery: str) -> RawEvent:
    return RawEvent(
        workspace=source.workspace,
        event_id=ids.event_id(source.workspace, source.source_id, delivery),
        source=source.source_id,
        connector=source.connector,
        delivery=delivery,
        subject=await upload.external_id(),
        received_at=now(),
        content_type=upload.content_type,
        attributes=upload.attributes(),
        body=upload.content,
    )


async def _source(held: Connections, workspace: str, source_id: str) -> Source:
    """Return the source to put a document into. Raises Problem: not found (also another workspace's), disabled."""
    source = await held.sources.get(source_id) if source_id else await _uploads(held, workspace)
    if source is None or source.workspace != workspace or source.connector != Connector.FILES.label:
        raise Problem(Code.SOURCE_NOT_FOUND)
    if not source.enabled:
        raise Problem(Code.SOURCE_DISABLED)
    return source


async def _uploads(held: Connections, workspace: str) -> Source:
    known = await held.upload_sources.get(workspace)
    if known is not None and known.connector == Connector.FILES.label:
        return known
    try:
        registered = await register_source(
            held.pool, held.box, workspace=workspace, connector=Connector.FILES, name=UPLOADS
        )
    except SourceConflictError as error:
        raise Problem(Code.SOURCE_CONFLICT) from error
    held.upload_sources.forget(workspace)
    return registered.source


@router.get("/v1/documents", response_model=DocumentPage, responses=problems(*AUTHENTICATED, Code.INVALID_REQUEST))
async def read_documents(page: Annotated[PageWanted, Query()], caller: Caller, held: Held) -> DocumentPage:
    """List documents, without their texts, by source and id."""
    after = read_cursor(page.cursor, _place) if page.cursor else None
    found = await list_documents(
        held.pool, caller.workspace, source=page.source, kind=page.kind, after=after, limit=page.limit + 1
    )
    shown = [DocumentShown(**asdict(document)) for document in found[: page.limit]]
    last = found[page.limit - 1] if len(found) > page.limit else None
    return DocumentPage(documents=shown, next=cursor_of(last.source, str(last.document_id)) if last else None)


@router.get(
    "/v1/documents/{document_id}",
    response_model=DocumentWhole,
    responses=problems(*AUTHENTICATED, Code.DOCUMENT_NOT_FOUND, Code.INVALID_REQUEST),
)
async def read_document(document_id: UUID, caller: Caller, held: Held) -> DocumentWhole:
    """Return a document with its text."""
    return DocumentWhole(**asdict(await _document(held, caller.workspace, document_id)))


@router.delete(
    "/v1/documents/{document_id}",
    status_code=202,
    response_model=AcceptedDeletion,
    responses=problems(
        *AUTHENTICATED,
        Code.BROKER_UNAVAILABLE,
        Code.TOO_MANY_EVENTS,
        Code.DOCUMENT_NOT_FOUND,
        Code.INVALID_REQUEST,
    ),
)
async def delete_document(
    document_id: UUID,
    caller: Caller,
    held: Held,
    idempotency_key: IdempotencyKey = None,
    contents: Annotated[bool, Query(description="Delete what stands in it too.")] = False,
) -> Response:
    """Delete a document from every index and the graph. GET /v1/events/{event_id} tells when that is done."""
    await held.admission.admit(caller.workspace)
    document = await _document(held, caller.workspace, document_id)
    delivery = idempotency_key or str(uuid4())
    event = RawEvent(
        workspace=caller.workspace,
        event_id=ids.event_id(caller.workspace, document.source, delivery),
        source=document.source,
        connector=document.connector,
        operation="delete",
        delivery=delivery,
        subject=document.external_id,
        received_at=now(),
        after_version=document.version,
        contents=contents,
    )
    await accept(held, event)
    return Response(orjson.dumps({"event_id": event.event_id, "document_id": document_id}), 202, media_type=JSON)


async def _document(held: Connections, workspace: str, document_id: UUID) -> StoredDocument:
    document = await find_document(held.pool, workspace, document_id)
    if document is None:
        raise Problem(Code.DOCUMENT_NOT_FOUND)
    return document


def _place(parts: list[Any]) -> tuple[str, UUID]:
    source, document_id = parts
    if not isinstance(source, str):
        raise TypeError("a source is text")
    return source, UUID(document_id)
