"""Where is my event?"""

import asyncio
from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from gateway.auth import NEEDS_KEY, Caller
from gateway.connections import Connections, Held
from gateway.documenting import AUTHENTICATED, problems
from gateway.problems import Code, Problem
from infra.postgres.progress import EventProgress, EventState, event_progress

router = APIRouter(tags=["events"], dependencies=[NEEDS_KEY])

POLL_S = 0.05


class Stage(BaseModel):
    """A step that the event has taken."""

    stage: Literal["accepted", "normalised", "embedded", "graphed", "dead_lettered"]
    at: datetime | None
    detail: str = ""


class EventDocument(BaseModel):
    """A document that the event became."""

    model_config = ConfigDict(from_attributes=True)

    document_id: UUID
    version: int | None
    operation: str | None
    embedded_at: datetime | None
    graphed_at: datetime | None


class Letter(BaseModel):
    """A dead letter about the event."""

    letter_id: UUID
    reason: str
    detail: str
    worker: str
    attempts: int
    first_at: datetime
    last_at: datetime
    state: str


class EventStatus(BaseModel):
    """Where an event stands."""

    event_id: UUID
    state: EventState
    source: str
    connector: str
    accepted_at: datetime | None
    stages: list[Stage]
    documents: list[EventDocument]
    dead_letters: list[Letter]


@router.get(
    "/v1/events/{event_id}",
    response_model=EventStatus,
    responses=problems(*AUTHENTICATED, Code.EVENT_NOT_FOUND, Code.INVALID_REQUEST),
)
async def read_event(event_id: UUID, caller: Caller, held: Held) -> EventStatus:
    """Say how far an event has come. Right after a 202 the answer may take up to a second: the ledger is told by the
    log, not by the gateway.
    """
    progress = await _awaited(held, caller.workspace, event_id)
    if progress is None:
        raise Problem(Code.EVENT_NOT_FOUND)
    return EventStatus(
        event_id=progress.event_id,
        state=progress.state,
        source=progress.source,
        connector=progress.connector,
        accepted_at=progress.accepted_at,
        stages=_stages(progress),
        documents=[EventDocument.model_validate(document) for document in progress.documents],
        dead_letters=[Letter(**letter) for letter in progress.dead_letters],
    )


async def _awaited(held: Connections, workspace: str, event_id: UUID) -> EventProgress | None:
    """Poll until the ledger has heard of the event: nothing tells this process when another one writes a row."""
    loop = asyncio.get_running_loop()
    until = loop.time() + held.settings.event_wait_s
    pause = POLL_S
    while True:
        progress = await event_progress(held.pool, workspace, event_id)
        if progress is not None or loop.time() + pause > until:
            return progress
        await asyncio.sleep(pause)
        pause *= 1.5


def _stages(progress: EventProgress) -> list[Stage]:
    stages = [Stage(stage="accepted", at=progress.accepted_at)]
    if progress.outcome:
        detail = progress.detail or ("not a document" if progress.outcome == "not_a_document" else "")
        stages.append(Stage(stage="normalised", at=progress.normalised_at, detail=detail))
    total = len(progress.documents)
    for stage, times in (
        ("embedded", [each.embedded_at for each in progress.documents if each.embedded_at]),
        ("graphed", [each.graphed_at for each in progress.documents if each.graphed_at]),
    ):
        if times:
            stages.append(Stage(stage=stage, at=max(times), detail=f"{len(times)} of {total} documents"))
    stages.extend(
        Stage(stage="dead_lettered", at=letter["last_at"], detail=f"{letter['worker']}: {letter['reason']}")
        for letter in progress.dead_letters
        if letter["state"] != "redriven"
    )
    return stages
