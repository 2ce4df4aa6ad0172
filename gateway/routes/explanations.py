"""What an answer was made of."""

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from gateway.auth import NEEDS_KEY, Caller
from gateway.connections import Held
from gateway.documenting import AUTHENTICATED, problems
from gateway.problems import Code, Problem
from infra.postgres.explanations import explanation_of
from schemas.chat import Citation, ReplyError
from schemas.interactions import UsedChunk

router = APIRouter(tags=["chat"], dependencies=[NEEDS_KEY])


class ExplanationShown(BaseModel):
    """An answer with all that led to it. Places on the log are `topic:partition:offset`."""

    model_config = ConfigDict(from_attributes=True)

    request_id: UUID
    conversation_id: UUID
    question: str
    answer: str
    citations: list[Citation]
    abstained: bool
    degraded: bool
    index_id: str
    model: str
    adapter: str
    served_by: str
    prompt_tokens: int
    completion_tokens: int
    error: ReplyError | None
    asked_at: datetime
    answered_at: datetime
    request_place: str
    prompt_place: str
    retrieved: list[UsedChunk]
    parameters: dict[str, Any]
    parts: dict[str, Any]


@router.get(
    "/v1/chat/{request_id:uuid}/explain",
    response_model=ExplanationShown,
    responses=problems(*AUTHENTICATED, Code.REQUEST_NOT_FOUND, Code.INVALID_REQUEST),
)
async def explain(request_id: UUID, caller: Caller, held: Held) -> ExplanationShown:
    """Tell what an archived answer was made of: places on the log, chunks, index, model, parameters, budget."""
    found = await explanation_of(held.pool, request_id, caller.workspace)
    if found is None:
        raise Problem(Code.REQUEST_NOT_FOUND)
    return ExplanationShown.model_validate(found)
