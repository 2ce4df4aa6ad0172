"""Decides what a state of a document is to what was let through before. No I/O: the gate reads and writes the rows.

A state has an order: its number (`workers.normalizer.version`), then deletions before other states, then where its
event was first accepted. The greater is newer. Its digest covers everything that sinks hold of it; two states with one
number and different digests are different states, and the one that was accepted later gets a version of its own.

The published version is the number wherever nothing forces another: only a state that would share its version with
another one, or fall behind it because versions were moved on before, takes the next free one. So `text[start:end]` of a
document at its version is one text for ever, in every sink, whatever a source does.
"""

from dataclasses import dataclass, replace
from enum import Enum
from uuid import UUID

from infra.errors import Permanent
from schemas.dead_letters import Reason
from schemas.documents import DocumentVersion
from schemas.event import MAX_VERSION
from workers.normalizer.sources.draft import Contents
from workers.normalizer.version import user_deletion

Place = tuple[int, int]
"""Partition and offset in `raw.events` where an event was first accepted."""

NOTHING, EVERYTHING = 0, 2**63 - 1
"""Floors of a thing whose contents may come, and of one whose contents all stay out."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A deletion at a user's word: the published version that they saw, None if they saw none.

    `ordered`: its offset can be compared with those of the document's deliveries (`version.user_deletion`).
    """

    after_version: int | None
    ordered: bool


@dataclass(frozen=True, slots=True)
class State:
    """What a delivery says of one document. `version.version` is its number, which the gate may change."""

    version: DocumentVersion
    digest: bytes
    numbered: bool = False
    """The number is the sender's own: a greater one is another state, though it says the same."""
    follows: bool = False
    """It is newer than whatever arrived before it in its partition, whatever its number."""
    contents: Contents = Contents.UNTOUCHED
    asked: Asked | None = None

    @property
    def deleted(self) -> bool:
        """Whether it is a deletion."""
        return self.version.operation == "delete"

    @property
    def removes(self) -> bool:
        """Whether what stands in it goes with it."""
        return self.contents in {Contents.REMOVED, Contents.REMOVED_UP_TO_NOW}


@dataclass(frozen=True, slots=True)
class Held:
    """The newest state that is known of a document, and what the sinks were told last."""

    number: int
    deleted: bool
    place: Place | None
    """None, as the digest, for what was published before they were kept."""
    digest: bytes | None
    version: int
    """Last one that was published, 0 if none was."""
    gone: bool
    """Whether that one was a deletion. Without `deleted`: the document stands in something that is removed."""
    hidden_by: UUID | None = None
    """Document id of the removed thing that it stands in."""
    floor: int = NOTHING
    """Contents whose number is not above it stay out."""
    swept: UUID | None = None
    """Contents up to this id have been deleted with it."""


class Verdict(Enum):
    """What is to be done with a state."""

    PUBLISH = "publish"
    AGAIN = "again"
    """It was let through before and perhaps not published: at the same version."""
    SUPERSEDED = "superseded"
    """A newer state was let through before."""
    UNCHANGED = "unchanged"
    """It says what the newest state says, and that one is on the log."""
    NOTED = "noted"
    """There is nothing to publish: a thing without a text of its own says that it is there."""
    HIDDEN = "hidden"
    """It stands in something that is removed."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict, what is held from now on, and the version to publish."""

    verdict: Verdict
    held: Held
    version: int


def decide(state: State, place: Place, held: Held | None) -> Decision:
    """Compare a state, whose event was first accepted at `place`, with what is held.

    Raises Permanent if there is no version left for it.
    """
    number = number_of(state, place, held)
    if state.deleted and state.contents is Contents.OPEN:
        return _noted(state, number, place, held)
    if held is None:
        return _publish(state, Held(number, state.deleted, place, state.digest, 0, gone=True), number)
    moved = replace(held, number=number, deleted=state.deleted, place=place, digest=state.digest)
    same = held.digest == state.digest
    if place == held.place and same:
        return Decision(Verdict.HIDDEN if held.hidden_by else Verdict.AGAIN, held, held.version)
    if not _newer(number, state.deleted, place, held):
        # Said before, and perhaps not published before its batch died: the same version cannot do harm. Under a number
        # of its own too, if that is the newest: who said it again meanwhile has moved the place, and published nothing.
        older = state.numbered and number < held.number
        repeated = same and not (state.deleted or older or held.hidden_by)
        return Decision(Verdict.AGAIN if repeated else Verdict.SUPERSEDED, held, held.version)
    if same and not state.deleted and not held.hidden_by and not (state.numbered and number > held.number):
        # Of another partition nothing tells whether the earlier one has reached the log by now.
        published = held.place is not None and held.place[0] == place[0]
        verdict = Verdict.UNCHANGED if published else Verdict.AGAIN
        return Decision(verdict, _contents(state, moved), held.version)
    return _publish(state, moved, _version(number, state, held))


def number_of(state: State, place: Place, held: Held | None) -> int:
    """Return the number of a state in the history of its document, as far as that is known."""
    own = state.version.version
    if held is None:
        return own
    if state.asked is not None:
        # The user saw a published version. Where versions were moved on, numbers lie as far below them.
        moved = held.number - held.version if held.version else 0
        seen = state.asked.after_version
        after = None if seen is None else max(seen + moved, 0)
        return user_deletion(after, place[1], ordered=state.asked.ordered)
    earlier = held.place is not None and held.place[0] == place[0] and held.place < place
    if state.follows and earlier:
        # What ends a deletion needs a number of its own, since of one number the deletion counts.
        there = not state.deleted or state.contents is Contents.OPEN
        return min(max(own, held.number + (held.deleted and there)), MAX_VERSION)
    return own


def _newer(number: int, deleted: bool, place: Place, held: Held) -> bool:
    if (number, deleted) != (held.number, held.deleted):
        return (number, deleted) > (held.number, held.deleted)
    return held.place is None or place >= held.place


def _version(number: int, state: State, held: Held) -> int:
    """Return the version of a state that is newer than what is held: its number, if that is still free."""
    if state.deleted and held.deleted and number == held.number:
        # Said again, by whatever delivery: no other state, and published once more since its contents go once more.
        return held.version
    if state.deleted and number == held.version:
        # Sinks take a deletion at the version of another state, and a deletion once more.
        return number
    return max(number, held.version + 1)


def _publish(state: State, held: Held, version: int) -> Decision:
    if version > MAX_VERSION:
        raise Permanent(Reason.SCHEMA_VIOLATION, f"a newer state of a document at the greatest version, {MAX_VERSION}")
    now = replace(held, version=version, gone=state.deleted, hidden_by=None)
    return Decision(Verdict.PUBLISH, _contents(state, now), version)


def _noted(state: State, number: int, place: Place, held: Held | None) -> Decision:
    """Open what stands in a thing that says it is there and has no text; what it said before stays as it is."""
    if held is None:
        return Decision(Verdict.NOTED, Held(number, False, place, state.digest, 0, gone=True), 0)
    if not _newer(number, False, place, held):
        return Decision(Verdict.SUPERSEDED, held, held.version)
    if held.gone:
        held = replace(held, number=number, deleted=False, place=place, digest=state.digest, hidden_by=None)
    return Decision(Verdict.NOTED, replace(held, floor=NOTHING), held.version)


def _contents(state: State, held: Held) -> Held:
    match state.contents:
        case Contents.REMOVED:
            return replace(held, floor=EVERYTHING, swept=None)
        case Contents.REMOVED_UP_TO_NOW:
            return replace(held, floor=max(held.floor, held.number), swept=None)
        case Contents.OPEN:
            return replace(held, floor=NOTHING)
        case Contents.UNTOUCHED:
            back = not state.deleted and held.floor == EVERYTHING
            return replace(held, floor=NOTHING) if back else held
