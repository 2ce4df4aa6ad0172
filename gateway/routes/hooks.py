"""Signed webhooks of registered sources."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from gateway.accepting import accept
from gateway.connections import Held
from gateway.documenting import ACCEPTING, problems
from gateway.problems import Code, Problem
from gateway.signatures import github, standard
from gateway.signatures.arrival import Arrival
from infra.postgres.sources import Connector, Source
from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, count
from schemas.event import now
from schemas.ids import event_id
from schemas.raw import RawEvent

log = logger(__name__)
router = APIRouter(tags=["hooks"])

THREADED_BYTES = 512 * 1024
"""Bodies from this size on are hashed in a thread, where hashlib lets the event loop run (2 ms and more)."""


@dataclass(frozen=True, slots=True)
class Signed:
    """How a connector's webhooks are checked, and what they say about themselves."""

    check: Callable[[Mapping[str, str], bytes, Sequence[str], datetime], Code | None]
    describe: Callable[[Mapping[str, str], bytes], Arrival]


SIGNED = {
    Connector.GITHUB.label: Signed(github.check, github.describe),
    Connector.GENERIC.label: Signed(standard.check, standard.describe),
}


class Accepted(BaseModel):
    """An event that the log holds."""

    event_id: UUID


@router.post(
    "/v1/hooks/{connector}/{source}",
    status_code=202,
    response_model=Accepted,
    responses=problems(
        Code.MISSING_SIGNATURE,
        Code.INVALID_SIGNATURE,
        Code.STALE_TIMESTAMP,
        Code.SOURCE_NOT_FOUND,
        Code.INVALID_HEADER,
        Code.DEPENDENCY_UNAVAILABLE,
        *ACCEPTING,
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The delivery as the sender signed it; the bytes are kept unchanged. A body that is not "
            "JSON is accepted and dead-lettered by the normalizer: the sender cannot mend it by trying again.",
            "content": {"application/json": {"schema": {}, "example": {"id": "42", "title": "Hello", "text": "…"}}},
        }
    },
)
async def receive_hook(connector: str, source: str, request: Request, held: Held) -> Response:
    """Take a signed delivery. 202 means that the log holds it; a redelivery has the same `event_id`."""
    try:
        registered = await _registered(held, connector, source)
        body = await request.body()
        arrival = await _trusted(registered, request.headers, body)
        # Behind the signature: a stranger must not use up what the workspace may send.
        await held.admission.admit(registered.workspace)
    except Problem as problem:
        label = connector if connector in SIGNED else "unknown"
        count(Metric.WEBHOOKS_REFUSED_TOTAL, label, problem.code.label)
        log.info("webhook refused", connector=label, code=problem.code.label)
        raise
    event = RawEvent(
        workspace=registered.workspace,
        event_id=event_id(registered.workspace, registered.source_id, arrival.delivery),
        source=registered.source_id,
        connector=registered.connector,
        delivery=arrival.delivery,
        subject=arrival.subject,
        received_at=now(),
        content_type=request.headers.get("content-type", "")[:200],
        attributes=arrival.attributes,
        body=body,
    )
    await accept(held, event)
    return Response(orjson.dumps({"event_id": event.event_id}), 202, media_type="application/json")


async def _registered(held: Held, connector: str, source_id: str) -> Source:
    source = await held.sources.get(source_id) if connector in SIGNED else None
    if source is None or source.connector != connector or not source.enabled:
        raise Problem(Code.SOURCE_NOT_FOUND)
    return source


async def _trusted(source: Source, headers: Mapping[str, str], body: bytes) -> Arrival:
    signed = SIGNED[source.connector]
    if len(body) >= THREADED_BYTES:
        fault = await asyncio.to_thread(signed.check, headers, body, source.secrets, now())
    else:
        fault = signed.check(headers, body, source.secrets, now())
    if fault is not None:
        raise Problem(fault)
    return signed.describe(headers, body)
