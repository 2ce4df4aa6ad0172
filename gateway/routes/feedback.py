"""What people think of answers."""

from typing import Annotated, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, StringConstraints

from gateway.accepting import PRODUCER
from gateway.auth import NEEDS_KEY, Caller
from gateway.connections import Held
from gateway.documenting import ACCEPTING, AUTHENTICATED, problems
from gateway.problems import Code
from gateway.recalling import check_known
from infra.kafka.codec import new_envelope
from infra.telemetry.tracing import inject
from schemas.event import now
from schemas.feedback import MAX_COMMENT, Feedback
from topics.catalogue import FEEDBACK

router = APIRouter(tags=["chat"], dependencies=[NEEDS_KEY])


class Rating(BaseModel):
    """An opinion of one answer."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "request_id": "01a3c5a0-5b8e-8001-a3f0-5f2c9d1e7b44",
                    "rating": "down",
                    "comment": "The weir is three metres high, not two.",
                }
            ]
        },
    )

    request_id: UUID
    rating: Literal["up", "down"]
    comment: Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_COMMENT)] = ""


class AcceptedRating(BaseModel):
    """A rating that the log holds."""

    event_id: UUID


@router.post(
    "/v1/feedback",
    status_code=202,
    response_model=AcceptedRating,
    responses=problems(*AUTHENTICATED, *ACCEPTING, Code.INVALID_JSON, Code.INVALID_REQUEST, Code.REQUEST_NOT_FOUND),
)
async def rate_answer(rating: Rating, caller: Caller, held: Held) -> AcceptedRating:
    """Rate an answer of this workspace. Rating it again replaces the rating: the last one counts."""
    await held.admission.admit(caller.workspace)
    await check_known(held, caller.workspace, rating.request_id)
    given = Feedback(
        workspace=caller.workspace,
        event_id=uuid4(),
        request_id=rating.request_id,
        rating=rating.rating,
        comment=rating.comment,
        by=caller.key_id,
        given_at=now(),
    )
    envelope = new_envelope(
        given,
        id=given.event_id,
        source=PRODUCER,
        subject=str(given.request_id),
        cause=given.request_id,
        trace=inject(),
    )
    await held.publisher.publish(FEEDBACK, given, envelope)
    return AcceptedRating(event_id=given.event_id)
