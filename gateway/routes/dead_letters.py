"""Dead letters of the caller's workspace: listed, shown, redriven, discarded.

There are no roles yet: a key of a workspace may act on the letters of that workspace. Headers are never changed here,
since the workspace itself stands in one: that is for operators, on the command line.
"""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from gateway.accepting import PRODUCER
from gateway.auth import NEEDS_KEY, Caller
from gateway.connections import Connections, Held
from gateway.cursors import cursor_of, read_cursor
from gateway.documenting import AUTHENTICATED, problems
from gateway.problems import Code, Problem
from infra.errors import Permanent
from infra.kafka.content import content_of
from infra.kafka.redrive import GoneError, NotRedrivableError, encoded_mark, mark, redrive, revive
from infra.postgres.letters import Letter, LetterState, Wanted, count_letters, find_letter, list_letters, marks_of
from schemas.dead_letters import DeadLetter, Reason

router = APIRouter(tags=["dead letters"], dependencies=[NEEDS_KEY])


class LetterShown(BaseModel):
    """A dead letter without the record in it."""

    letter_id: UUID
    event_id: UUID | None
    source: str
    reason: str
    detail: str
    worker: str
    attempts: int
    topic: str
    partition: int
    offset: int
    first_at: datetime
    last_at: datetime
    state: LetterState


class LetterCount(BaseModel):
    """How many letters of one state, topic and reason there are."""

    state: LetterState
    topic: str
    reason: str
    letters: int


class LetterPage(BaseModel):
    """A page of letters; `next` is the cursor of the next one, null at the end. `counts` are of all pages."""

    dead_letters: list[LetterShown]
    counts: list[LetterCount]
    next: str | None


class HeaderShown(BaseModel):
    """A header of the record: text, or base64 where it is no UTF-8."""

    name: str
    value: str | None


class RecordShown(BaseModel):
    """The record that died. `value` is text, or base64 as `encoding` says; cut short unless asked for in `full`."""

    key: str | None
    headers: list[HeaderShown]
    value: str | None
    encoding: Literal["text", "base64"]
    bytes: int
    cut: bool
    reference: str | None
    """Where the body stands in the object store, if it was too large for a record."""


class MarkShown(BaseModel):
    """Something done about the letter."""

    state: LetterState
    by: str
    at: datetime


class LetterWhole(LetterShown):
    """A dead letter with its record, null where the log no longer holds it."""

    marks: list[MarkShown]
    record: RecordShown | None


class Settled(BaseModel):
    """What was done; the letter shows it as soon as the ledger has heard of it."""

    letter_id: UUID
    state: LetterState


class PageWanted(BaseModel):
    """Which letters to list. `since` and `until` speak of the last time that the record died."""

    model_config = ConfigDict(extra="forbid")

    state: LetterState | None = None
    topic: str | None = Field(default=None, max_length=200)
    reason: Reason | None = None
    source: str | None = Field(default=None, max_length=200)
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(default=None, max_length=500)
    """`next` of the page before."""


@router.get("/v1/dead-letters", response_model=LetterPage, responses=problems(*AUTHENTICATED, Code.INVALID_REQUEST))
async def read_letters(page: Annotated[PageWanted, Query()], caller: Caller, held: Held) -> LetterPage:
    """List dead letters, the latest death first."""
    after = read_cursor(page.cursor, _place) if page.cursor else None
    wanted = Wanted(
        workspace=caller.workspace,
        state=page.state,
        topic=page.topic,
        reason=str(page.reason) if page.reason else None,
        source=page.source,
        since=page.since,
        until=page.until,
    )
    found = await list_letters(held.pool, wanted, after=after, limit=page.limit + 1)
    counts = await count_letters(held.pool, wanted)
    last = found[page.limit - 1] if len(found) > page.limit else None
    return LetterPage(
        dead_letters=[LetterShown(**asdict(letter)) for letter in found[: page.limit]],
        counts=[LetterCount(**asdict(count)) for count in counts],
        next=cursor_of(last.last_at.isoformat(), str(last.letter_id)) if last else None,
    )


@router.get(
    "/v1/dead-letters/{letter_id}",
    response_model=LetterWhole,
    responses=problems(*AUTHENTICATED, Code.BROKER_UNAVAILABLE, Code.LETTER_NOT_FOUND, Code.INVALID_REQUEST),
)
async def read_letter(letter_id: UUID, caller: Caller, held: Held, full: bool = False) -> LetterWhole:
    """Show one letter with the record in it, read back from the log; its first 4 KiB unless `full`."""
    letter = await _letter(held, caller.workspace, letter_id)
    try:
        whole = await _whole(held, letter)
        record = RecordShown(**content_of(whole, full=full))
    except (GoneError, Permanent):
        record = None
    marks = [MarkShown(**asdict(each)) for each in await marks_of(held.pool, letter)]
    return LetterWhole(**asdict(letter), marks=marks, record=record)


@router.post(
    "/v1/dead-letters/{letter_id}/redrive",
    status_code=202,
    response_model=Settled,
    responses=problems(
        *AUTHENTICATED,
        Code.BROKER_UNAVAILABLE,
        Code.LETTER_NOT_FOUND,
        Code.LETTER_NOT_REDRIVABLE,
        Code.LETTER_GONE,
        Code.INVALID_REQUEST,
    ),
)
async def redrive_letter(letter_id: UUID, caller: Caller, held: Held) -> Settled:
    """Publish the record once more, as the same event. 202 means that the log holds it; doing it twice does no harm."""
    letter = await _letter(held, caller.workspace, letter_id)
    try:
        whole = await _whole(held, letter)
    except (GoneError, Permanent) as error:
        raise Problem(Code.LETTER_GONE) from error
    try:
        record = revive(whole)
    except NotRedrivableError as error:
        raise Problem(Code.LETTER_NOT_REDRIVABLE, f"{error}; an operator can redrive it with --set-header") from error
    place = (letter.letter_partition, letter.letter_offset)
    made = mark(letter.workspace, letter.letter_id, place, "redriven", caller.key_id)
    await redrive(held.publisher, [record], [made], PRODUCER)
    return Settled(letter_id=letter_id, state="redriven")


@router.post(
    "/v1/dead-letters/{letter_id}/discard",
    status_code=202,
    response_model=Settled,
    responses=problems(*AUTHENTICATED, Code.BROKER_UNAVAILABLE, Code.LETTER_NOT_FOUND, Code.INVALID_REQUEST),
)
async def discard_letter(letter_id: UUID, caller: Caller, held: Held) -> Settled:
    """Mark the letter as settled without its record. Nothing is erased; it can be redriven later."""
    letter = await _letter(held, caller.workspace, letter_id)
    place = (letter.letter_partition, letter.letter_offset)
    made = mark(letter.workspace, letter.letter_id, place, "discarded", caller.key_id)
    await held.publisher.send([encoded_mark(made, PRODUCER)])
    return Settled(letter_id=letter_id, state="discarded")


async def _letter(held: Connections, workspace: str, letter_id: UUID) -> Letter:
    letter = await find_letter(held.pool, letter_id, workspace)
    if letter is None:
        raise Problem(Code.LETTER_NOT_FOUND)
    return letter


async def _whole(held: Connections, letter: Letter) -> DeadLetter:
    """Return the letter itself. Raises GoneError, also where another workspace's letter stands at its place."""
    whole = await held.letters.read((letter.letter_partition, letter.letter_offset))
    if (whole.workspace, whole.letter_id) != (letter.workspace, letter.letter_id):
        raise GoneError("another letter stands there")
    return whole


def _place(parts: list[Any]) -> tuple[datetime, UUID]:
    at, letter_id = parts
    moment = datetime.fromisoformat(at)
    if moment.tzinfo is None:
        raise ValueError("a cursor's time has a zone")
    return moment, UUID(letter_id)
