"""Conversations: found, read, named, put away, deleted, taken along. Changes are events; the archivist applies them."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from starlette.responses import StreamingResponse

from gateway import changing
from gateway.auth import NEEDS_KEY, Caller
from gateway.connections import Connections, Held
from gateway.cursors import cursor_of, read_cursor
from gateway.documenting import ACCEPTING, AUTHENTICATED, problems
from gateway.exporting import FORMATS, Format, disposition, shown
from gateway.problems import Code, Problem
from gateway.routes.receipts import ReceiptShown
from infra.postgres.conversations import Conversation, find_conversation, list_conversations
from infra.postgres.messages import Message, Place, list_messages
from infra.postgres.receipts import conversation_receipts
from schemas.chat import Citation, ReplyError
from schemas.conversations import TITLE_LIMIT

router = APIRouter(tags=["conversations"], dependencies=[NEEDS_KEY])

EXPORT_PAGE = 200
"""Messages of an export that are in memory at once."""
_MAY_FAIL = (*AUTHENTICATED, Code.CONVERSATION_NOT_FOUND, Code.INVALID_REQUEST)
_CHANGING = (*ACCEPTING, Code.INVALID_JSON, Code.UNSUPPORTED_MEDIA_TYPE)


class ConversationShown(BaseModel):
    """A conversation. `messages` counts questions and answers; `snippet` is text around a search's best hit."""

    model_config = ConfigDict(from_attributes=True)

    conversation_id: UUID
    title: str
    created_at: datetime
    updated_at: datetime
    messages: int
    archived: bool
    snippet: str | None = None


class ConversationPage(BaseModel):
    """A page of conversations; `next` is the cursor of the next one, null at the end."""

    conversations: list[ConversationShown]
    next: str | None


class ConversationsWanted(BaseModel):
    """Which conversations to list."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(default="", max_length=500)
    """Words that one message, or the title, holds; `"a phrase"`, `or` and `-not` are understood."""
    archived: bool = False
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=500)
    """`next` of the page before."""


class MessageShown(BaseModel):
    """A question or an answer; `error` says why there is none, `rating` what was last thought of it."""

    message_id: UUID
    request_id: UUID
    role: Literal["user", "assistant"]
    content: str
    citations: list[Citation]
    model: str
    served_by: str
    created_at: datetime
    error: ReplyError | None
    rating: Literal["up", "down"] | None


class MessagePage(BaseModel):
    """A page of messages, oldest first; `next` is the cursor of the next one, null at the end."""

    messages: list[MessageShown]
    next: str | None


class MessagesWanted(BaseModel):
    """Which messages to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=100, ge=1, le=500)
    cursor: str | None = Field(default=None, max_length=500)


def _on_one_line(value: object) -> object:
    return " ".join(value.split()) if isinstance(value, str) else value


class Edit(BaseModel):
    """What is to become of a conversation; what is left out stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"title": "The login queue"}]})

    title: Annotated[str, BeforeValidator(_on_one_line), Field(min_length=1, max_length=TITLE_LIMIT)] | None = None
    archived: bool | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.title is None and self.archived is None:
            raise ValueError("name a title, or whether it is archived")
        return self


class AcceptedChange(BaseModel):
    """A deletion that the log holds."""

    event_id: UUID


class ReceiptsOfConversation(BaseModel):
    """Whether a conversation is deleted, and what proves it. `parts` of a receipt: the answers that it removed."""

    conversation_id: UUID
    deleted: bool
    receipts: list[ReceiptShown]


@router.get(
    "/v1/conversations", response_model=ConversationPage, responses=problems(*AUTHENTICATED, Code.INVALID_REQUEST)
)
async def read_conversations(
    page: Annotated[ConversationsWanted, Query()], caller: Caller, held: Held
) -> ConversationPage:
    """List conversations, the one with the newest answer first, or those in which a search finds its words."""
    after = read_cursor(page.cursor, _conversation_place) if page.cursor else None
    query = page.query.strip()
    found = await list_conversations(
        held.pool, caller.workspace, query=query, archived=page.archived, after=after, limit=page.limit + 1
    )
    last = found[page.limit - 1] if len(found) > page.limit else None
    return ConversationPage(
        conversations=[ConversationShown.model_validate(each) for each in found[: page.limit]],
        next=cursor_of(last.updated_at.isoformat(), str(last.conversation_id)) if last else None,
    )


@router.get("/v1/conversations/{conversation_id}", response_model=ConversationShown, responses=problems(*_MAY_FAIL))
async def read_conversation(conversation_id: UUID, caller: Caller, held: Held) -> ConversationShown:
    """Return a conversation without its messages."""
    return ConversationShown.model_validate(await _conversation(held, caller.workspace, conversation_id))


@router.get("/v1/conversations/{conversation_id}/messages", response_model=MessagePage, responses=problems(*_MAY_FAIL))
async def read_messages(
    conversation_id: UUID, page: Annotated[MessagesWanted, Query()], caller: Caller, held: Held
) -> MessagePage:
    """List what was said, oldest first."""
    after = read_cursor(page.cursor, _message_place) if page.cursor else None
    await _conversation(held, caller.workspace, conversation_id)
    found = await list_messages(held.pool, caller.workspace, conversation_id, after=after, limit=page.limit + 1)
    last = found[page.limit - 1].place if len(found) > page.limit else None
    return MessagePage(
        messages=[MessageShown.model_validate(shown(message)) for message in found[: page.limit]],
        next=cursor_of(last[0].isoformat(), str(last[1]), str(last[2])) if last else None,
    )


@router.patch(
    "/v1/conversations/{conversation_id}",
    response_model=ConversationShown,
    responses=problems(*_MAY_FAIL, *_CHANGING)
    | {202: {"model": ConversationShown, "description": "As it will be; only the log knows of it yet."}},
)
async def edit_conversation(
    conversation_id: UUID, wanted: Edit, caller: Caller, held: Held, response: Response
) -> ConversationShown:
    """Rename a conversation, move it into the archive, or bring it back; 202 if that takes longer than usual, and for
    one whose first answer is still being written.
    """
    await held.admission.admit(caller.workspace)
    place = (held, caller.workspace, conversation_id)
    before = await _present(*place)
    change = wanted.model_dump(exclude_none=True)
    if await changing.edit(*place, title=wanted.title, archived=wanted.archived, by=caller.key_id):
        after = await find_conversation(held.pool, caller.workspace, conversation_id)
        if after is not None:
            return ConversationShown.model_validate(after)
    response.status_code = 202
    return before.model_copy(update=change)


@router.delete(
    "/v1/conversations/{conversation_id}",
    status_code=202,
    response_model=AcceptedChange,
    responses=problems(*_MAY_FAIL, Code.BROKER_UNAVAILABLE, Code.TOO_MANY_EVENTS),
)
async def delete_conversation(conversation_id: UUID, caller: Caller, held: Held) -> AcceptedChange:
    """Delete a conversation with all that was and is being said in it; its receipts tell when that is done."""
    await held.admission.admit(caller.workspace)
    await _present(held, caller.workspace, conversation_id)
    return AcceptedChange(event_id=await changing.delete(held, caller.workspace, conversation_id, caller.key_id))


@router.get(
    "/v1/conversations/{conversation_id}/receipts",
    response_model=ReceiptsOfConversation,
    responses=problems(*_MAY_FAIL),
)
async def read_conversation_receipts(conversation_id: UUID, caller: Caller, held: Held) -> ReceiptsOfConversation:
    """Prove that a conversation was deleted."""
    found = await conversation_receipts(held.pool, caller.workspace, conversation_id)
    if found is None:
        raise Problem(Code.CONVERSATION_NOT_FOUND)
    receipts = [ReceiptShown.model_validate(receipt) for receipt in found.receipts]
    return ReceiptsOfConversation(conversation_id=conversation_id, deleted=found.deleted, receipts=receipts)


@router.get(
    "/v1/conversations/{conversation_id}/export",
    response_class=StreamingResponse,
    responses=problems(*_MAY_FAIL)
    | {
        200: {"content": {kind.media_type.partition(";")[0]: {} for kind in FORMATS.values()}, "description": "A file."}
    },
)
async def export_conversation(
    conversation_id: UUID,
    caller: Caller,
    held: Held,
    wanted: Annotated[Format, Query(alias="format", description="`csv` is safe to open in a spreadsheet.")] = "json",
) -> StreamingResponse:
    """Download a conversation as JSON, CSV or Markdown."""
    conversation = await _conversation(held, caller.workspace, conversation_id)
    kind = FORMATS[wanted]
    # Before the response begins: a database that is away is a status of its own then.
    first = await list_messages(held.pool, caller.workspace, conversation_id, limit=EXPORT_PAGE)
    return StreamingResponse(
        kind.write(conversation, _pages(held, caller.workspace, conversation_id, first)),
        media_type=kind.media_type,
        headers={"Content-Disposition": disposition(conversation, kind), "X-Content-Type-Options": "nosniff"},
    )


async def _pages(
    held: Connections, workspace: str, conversation_id: UUID, page: list[Message]
) -> AsyncIterator[list[Message]]:
    """Yield `page` and all that follow; no connection is held while the client takes its time."""
    while page:
        yield page
        if len(page) < EXPORT_PAGE:
            return
        page = await list_messages(held.pool, workspace, conversation_id, after=page[-1].place, limit=EXPORT_PAGE)


async def _conversation(held: Connections, workspace: str, conversation_id: UUID) -> Conversation:
    """Return a conversation. Raises Problem(CONVERSATION_NOT_FOUND), for another workspace's too."""
    found = await find_conversation(held.pool, workspace, conversation_id)
    if found is None:
        raise Problem(Code.CONVERSATION_NOT_FOUND)
    return found


async def _present(held: Connections, workspace: str, conversation_id: UUID) -> ConversationShown:
    """Return a conversation, also one whose first answer is on its way. Raises Problem(CONVERSATION_NOT_FOUND)."""
    found = await find_conversation(held.pool, workspace, conversation_id)
    if found is not None:
        return ConversationShown.model_validate(found)
    at = await changing.begun_at(held, workspace, conversation_id)
    if at is None:
        raise Problem(Code.CONVERSATION_NOT_FOUND)
    return ConversationShown(
        conversation_id=conversation_id, title="", created_at=at, updated_at=at, messages=0, archived=False
    )


def _conversation_place(parts: list[Any]) -> tuple[datetime, UUID]:
    at, conversation_id = parts
    return _moment(at), UUID(conversation_id)


def _message_place(parts: list[Any]) -> Place:
    at, request_id, part = parts
    return _moment(at), UUID(request_id), 1 if part == "1" else 0


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a moment has a zone")
    return moment
