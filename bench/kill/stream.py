"""A seeded stream of what senders say: creates, updates, deletions, repetitions, poison, disorder.

Every step carries all that a model needs to say what must come of it. External ids are the same in every workspace and
source, so that a crossing would meet a document there; every state of a document holds a word of its own (its canary).
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

import orjson

from bench.kill.kinds import prose
from bench.kill.kinds.prose import PEOPLE

UPLOADS = "uploads"
"""Name of the source that receives documents by /v1/documents."""
WINDOW = 60
"""A webhook may be overtaken by so many later ones."""
GAP = 10
"""Versions of a document rise by up to so many, which leaves numbers for late, stale updates."""


class Way(StrEnum):
    """How a step is said."""

    HOOK = "hook"
    UPLOAD = "upload"
    REMOVE = "remove"


class Kind(StrEnum):
    """What a step means."""

    UPSERT = "upsert"
    DELETE = "delete"
    POISON = "poison"
    EMPTY = "empty"


class Trait(StrEnum):
    """What a step is in the stream for, beyond creates, updates and deletions by rising numbers."""

    EQUAL_VERSION = "another text under an equal version"
    EQUAL_DATE = "another text under an equal date"
    WAY_BACK = "a text that goes back"
    SAID_AGAIN = "the newest state under a new delivery id"
    USER_DELETION = "a user's deletion of a shifted version"
    CONTAINER_REMOVED = "a container removed"
    LATE_CHILD = "a late child of a removed container"
    USER_REMOVAL = "a container removed by a user"
    CONTAINER_BACK = "a container created again"
    CHILD_BACK = "a child sent again"
    MOVED = "a child moved out"
    FLOOD = "a flood of one workspace"


@dataclass(frozen=True, slots=True)
class Step:
    """One delivery. Steps with the same workspace, source and `delivery` are one event."""

    number: int
    way: Way
    kind: Kind
    workspace: str
    source: str
    delivery: str
    external_id: str = ""
    version: int | None = None
    """The sender's own number; None where a date or the order of acceptance counts."""
    dated: int | None = None
    """Seconds of its `updated_at` since 2030; among equal ones the order of acceptance counts."""
    text: str = ""
    title: str = ""
    authors: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    canary: str = ""
    reason: str = ""
    """For poison: the reason of its dead letter."""
    body: bytes = b""
    parents: tuple[str, ...] = ()
    """External ids of the containers that it names."""
    trait: Trait | None = None
    scene: str = ""
    """Steps that belong together; one of a later `act` is said once all of earlier acts have come to their end."""
    act: int = 0
    in_turn: bool = False
    """A webhook that does not overtake those of its document that are also said in turn."""
    sees: str = ""
    """A mark that the user had seen in the document which they delete."""
    contents: bool = False
    """A user's deletion takes along what stands in the document, as a source's always does."""

    @property
    def event(self) -> tuple[str, str, str]:
        """What makes a repetition the same event."""
        return self.workspace, self.source, self.delivery

    @property
    def chain(self) -> tuple[str, str, str] | None:
        """Steps of one chain are said one after the other; None for what may overtake."""
        free = self.way is Way.HOOK and not self.in_turn
        return None if free else (self.workspace, self.source, self.external_id)


@dataclass(slots=True)
class Past:
    """What a source has said of one document so far."""

    version: int = 0
    used: set[int] = field(default_factory=set)
    alive: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """Parts of a stream in per cent of its steps; what is left are creates and updates by webhook."""

    delete: int = 8
    stale: int = 6
    echo: int = 3
    """A known state, said again under a new delivery id."""
    repeat: int = 9
    poison: int = 4
    empty: int = 2
    upload: int = 16
    remove: int = 3
    new: int = 40
    """Of the creates and updates: creates."""


class Stream:
    """Writes the steps. The same seed gives the same steps."""

    def __init__(self, seed: int, workspaces: tuple[str, ...], sources: tuple[str, ...], shape: Shape | None = None):
        self._random = random.Random(seed)
        self._tag = f"s{seed}"
        self._workspaces = workspaces
        self._sources = sources
        self._shape = shape or Shape()
        self._past: dict[tuple[str, str], list[Past]] = {}
        self._said: list[Step] = []
        self._states: dict[tuple[str, str, str, int], Step] = {}

    def steps(self, count: int) -> list[Step]:
        """Return `count` steps in the order in which they are to be said."""
        placed = []
        for number in range(count):
            step = self._next(number)
            self._said.append(step)
            late = 0.0 if step.chain else self._random.uniform(0, WINDOW)
            placed.append((number + late, step))
        return [step for _, step in sorted(placed, key=lambda pair: pair[0])]

    def _next(self, number: int) -> Step:
        shape, roll = self._shape, self._random.uniform(0, 100)
        ways = (
            (shape.repeat, self._repetition),
            (shape.echo, self._echo),
            (shape.poison, self._poison),
            (shape.empty, self._empty),
            (shape.remove, self._removal),
            (shape.upload, self._upload),
            (shape.delete, self._deletion),
            (shape.stale, self._stale),
        )
        for share, make in ways:
            if roll < share:
                return make(number) or self._update(number)
            roll -= share
        return self._update(number)

    def _place(self) -> tuple[str, str]:
        return self._random.choice(self._workspaces), self._random.choice(self._sources)

    def _document(self, place: tuple[str, str], new_share: float) -> tuple[str, Past]:
        known = self._past.setdefault(place, [])
        if not known or self._random.uniform(0, 100) < new_share:
            known.append(Past())
            return f"doc-{len(known):05}", known[-1]
        at = self._random.randrange(len(known))
        return f"doc-{at + 1:05}", known[at]

    def _blank(self, number: int, place: tuple[str, str], way: Way = Way.HOOK) -> Step:
        workspace, source = place
        return Step(number, way, Kind.UPSERT, workspace, source, f"{self._tag}-{number}")

    def _described(self, step: Step, external_id: str, version: int | None) -> Step:
        canary = f"c{self._workspaces.index(step.workspace)}x-{step.number}"
        links = prose.links(self._random)
        return replace(
            step,
            external_id=external_id,
            version=version,
            canary=canary,
            title=f"{external_id} state {step.number}",
            authors=tuple(self._random.sample(PEOPLE, self._random.randint(1, 2))) if step.way is Way.HOOK else (),
            links=links,
            text=prose.text(self._random, canary, links),
        )

    def _update(self, number: int) -> Step:
        place = self._place()
        external_id, past = self._document(place, self._shape.new)
        past.version += self._random.randint(1, GAP)
        return self._versioned(number, place, external_id, past, past.version)

    def _versioned(self, number: int, place: tuple[str, str], external_id: str, past: Past, version: int) -> Step:
        past.used.add(version)
        step = self._described(self._blank(number, place), external_id, version)
        step = replace(step, body=self._said_as_json(step))
        self._states[(*place, external_id, version)] = step
        return step

    def _said_as_json(self, step: Step) -> bytes:
        described = {"title": step.title, "text": step.text, "authors": list(step.authors), "version": step.version}
        deleted = step.kind is Kind.DELETE
        if deleted:
            described = {"version": step.version}
        if self._random.random() < 0.3:
            kind = "org.example.document." + ("deleted" if deleted else "updated")
            event = {"specversion": "1.0", "id": step.delivery, "source": "/bench", "type": kind}
            return orjson.dumps({**event, "subject": step.external_id, "data": described})
        return orjson.dumps({"id": step.external_id, **described, **({"deleted": True} if deleted else {})})

    def _deletion(self, number: int) -> Step:
        """Delete a document by its source's word, now and then one that nobody has created yet."""
        place = self._place()
        external_id, past = self._document(place, 10)
        past.version += self._random.randint(1, GAP)
        past.used.add(past.version)
        step = replace(self._blank(number, place), kind=Kind.DELETE, external_id=external_id, version=past.version)
        step = replace(step, body=self._said_as_json(step))
        self._states[(*place, external_id, past.version)] = step
        return step

    def _stale(self, number: int) -> Step | None:
        """Say a state of long ago for the first time: a number below the newest one that was never used."""
        place = self._place()
        external_id, past = self._document(place, 0)
        free = [version for version in range(max(1, past.version - GAP), past.version) if version not in past.used]
        return self._versioned(number, place, external_id, past, self._random.choice(free)) if free else None

    def _echo(self, number: int) -> Step | None:
        if not self._states:
            return None
        known = self._random.choice(list(self._states.values()))
        return replace(known, number=number, delivery=f"{self._tag}-{number}")

    def _repetition(self, number: int) -> Step | None:
        """Deliver again what was delivered: the same id, the same bytes."""
        recent = self._said[-3 * WINDOW :] if self._random.random() < 0.8 else self._said
        known = self._random.choice(recent) if recent else None
        return replace(known, number=number) if known and known.way is not Way.REMOVE else None

    def _poison(self, number: int) -> Step:
        step = self._blank(number, self._place())
        name = f"poison-{number}"
        bodies: tuple[tuple[bytes, str], ...] = (
            (b'{"id": "' + name.encode() + b'", "text": ', "invalid_json"),
            (b"\xff\xfe\x00not json", "invalid_json"),
            (b'["a list", "is no document"]', "schema_violation"),
            (orjson.dumps({"id": name, "text": 5}), "schema_violation"),
            (orjson.dumps({"id": name, "text": "x", "version": "newest"}), "schema_violation"),
            (orjson.dumps({"id": name, "text": "x", "version": 2**60}), "schema_violation"),
            (orjson.dumps({"deleted": True, "version": 4}), "schema_violation"),
            (orjson.dumps({"specversion": "1.0", "id": name, "type": "t", "data": [1]}), "schema_violation"),
        )
        body, reason = self._random.choice(bodies)
        return replace(step, kind=Kind.POISON, body=body, reason=reason)

    def _empty(self, number: int) -> Step:
        step = self._blank(number, self._place())
        return replace(step, kind=Kind.EMPTY, body=orjson.dumps({"id": f"empty-{number}", "note": "no text at all"}))

    def _upload(self, number: int) -> Step:
        place = (self._random.choice(self._workspaces), UPLOADS)
        external_id, past = self._document(place, self._shape.new)
        past.alive = True
        return self._described(self._blank(number, place, Way.UPLOAD), f"{external_id}.md", None)

    def _removal(self, number: int) -> Step | None:
        place = (self._random.choice(self._workspaces), UPLOADS)
        alive = [at for at, past in enumerate(self._past.get(place, [])) if past.alive]
        if not alive:
            return None
        at = self._random.choice(alive)
        self._past[place][at].alive = False
        step = self._blank(number, place, Way.REMOVE)
        return replace(step, kind=Kind.DELETE, external_id=f"doc-{at + 1:05}.md")


def events(steps: list[Step]) -> Iterator[Step]:
    """Yield each event once, in the order in which it was made."""
    seen: set[tuple[str, str, str]] = set()
    for step in sorted(steps, key=lambda each: each.number):
        if step.event not in seen:
            seen.add(step.event)
            yield step
