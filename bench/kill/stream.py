"""A seeded stream of what senders say: creates, updates, deletions, repetitions, poison, disorder.

Every step carries all that a model needs to say what must come of it. External ids are the same in every workspace and
source, so that a crossing would meet a document there; every state of a document holds a word of its own (its canary).
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

import orjson

UPLOADS = "uploads"
"""Name of the source that receives documents by /v1/documents."""
WINDOW = 60
"""A webhook may be overtaken by so many later ones."""
GAP = 10
"""Versions of a document rise by up to so many, which leaves numbers for late, stale updates."""

WORDS = (
    "water wheel stone grain flour sluice race pond gear shaft cog beam loft sack chute hopper bell rope sieve bin "
    "miller keeper tide river bank weir gate axle brake sail tower barn cart horse market harvest summer winter "
    "ledger price weight measure toll guild letter order repair carpenter smith iron oak brick mortar roof"
)
PEOPLE = ("Ada Quill", "Bo Weir", "Cy Loom", "Dee Stone", "Eli Sluice", "Fay Gear", "Gus Oak", "Hal Mortar")


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
    """The sender's own number; None for uploads, whose order of acceptance counts."""
    text: str = ""
    title: str = ""
    authors: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    canary: str = ""
    ordered: bool = False
    """Numbers of its document are said more than once, with other texts: of equal ones the later counts."""
    reason: str = ""
    """For poison: the reason of its dead letter."""
    body: bytes = b""

    @property
    def event(self) -> tuple[str, str, str]:
        """What makes a repetition the same event."""
        return self.workspace, self.source, self.delivery

    @property
    def chain(self) -> tuple[str, str] | None:
        """Steps of one chain are said one after the other; None for what may overtake."""
        if self.way is Way.HOOK and not self.ordered:
            return None
        return self.workspace, f"{self.source}/{self.external_id}"

    @property
    def words(self) -> tuple[object, ...]:
        """What it says of its document: one that says what the newest says may be left out."""
        return (self.kind, self.version, self.title, self.text, self.authors, self.links)

    @property
    def exact_version(self) -> int | None:
        """The version that its document must have; None where the log decides."""
        return None if self.ordered else self.version


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
    twin: int = 5
    """A number that was said before, now and then with a text of before it or as a deletion."""
    back: int = 2
    """An upload of what the document was before."""
    flood: int = 10
    """Uploads of one workspace, one behind the other."""
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
        self._twins: list[list[Step]] = []
        self._uploads: dict[tuple[str, str], list[Step]] = {}
        self._flood = range(0)

    def steps(self, count: int) -> list[Step]:
        """Return `count` steps in the order in which they are to be said."""
        placed = []
        self._flood = range(count // 3, count // 3 + count * self._shape.flood // 100)
        for number in range(count):
            step = self._next(number)
            self._said.append(step)
            late = 0.0 if step.chain else self._random.uniform(0, WINDOW)
            placed.append((number + late, step))
        return [step for _, step in sorted(placed, key=lambda pair: pair[0])]

    def _next(self, number: int) -> Step:
        if number in self._flood:
            return self._upload(number, self._workspaces[0])
        shape, roll = self._shape, self._random.uniform(0, 100)
        ways = (
            (shape.twin, self._twin),
            (shape.back, self._back),
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
        links = (f"https://example.org/page/{self._random.randrange(40)}",) if self._random.random() < 0.3 else ()
        return replace(
            step,
            external_id=external_id,
            version=version,
            canary=canary,
            title=f"{external_id} state {step.number}",
            authors=tuple(self._random.sample(PEOPLE, self._random.randint(1, 2))) if step.way is Way.HOOK else (),
            links=links,
            text=self._text(canary, links),
        )

    def _text(self, canary: str, links: tuple[str, ...]) -> str:
        length = self._random.choice((40, 60, 80, 80, 100, 400))
        words = self._random.choices(WORDS.split(), k=length)
        lines = [" ".join(words[at : at + 40]).capitalize() + "." for at in range(0, length, 40)]
        return "\n\n".join(
            ["The mark of this state is " + canary + ".", *lines, *(f"See {link} for more." for link in links)]
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

    def _twin(self, number: int) -> Step:
        """Say a document whose sender does not keep its numbers apart."""
        if not self._twins or self._random.random() < 0.2:
            self._twins.append([])
        said = self._random.choice(self._twins)
        place = (said[0].workspace, said[0].source) if said else self._place()
        name = said[0].external_id if said else f"twin-{len(self._twins):05}"
        version = (said[-1].version or 0) + (self._random.random() < 0.3) if said else 1
        texts = [step for step in said if step.kind is Kind.UPSERT]
        step = replace(self._described(self._blank(number, place), name, version), ordered=True)
        roll = self._random.random()
        if roll < 0.3 and texts:
            known = self._random.choice(texts)
            step = replace(known, number=number, delivery=step.delivery, version=version)
        elif roll < 0.4:
            step = replace(
                self._blank(number, place), kind=Kind.DELETE, external_id=name, version=version, ordered=True
            )
        said.append(replace(step, body=self._said_as_json(step)))
        return said[-1]

    def _upload(self, number: int, workspace: str = "") -> Step:
        place = (workspace or self._random.choice(self._workspaces), UPLOADS)
        external_id, past = self._document(place, self._shape.new)
        past.alive = True
        step = self._described(self._blank(number, place, Way.UPLOAD), f"{external_id}.md", None)
        self._uploads.setdefault((place[0], step.external_id), []).append(step)
        return step

    def _back(self, number: int) -> Step | None:
        """Upload what a document was before, or is."""
        if not self._uploads:
            return None
        known = self._random.choice(self._random.choice(list(self._uploads.values())))
        self._past[known.workspace, UPLOADS][int(known.external_id[4:9]) - 1].alive = True
        return replace(known, number=number, delivery=f"{self._tag}-{number}")

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
