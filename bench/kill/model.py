"""The serial model: what every sink must hold once all steps have had their effects, each once, one after the other.

Pure Python and none of the workers' code; from Millrace come only the ids, which are the contract with the reader.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from bench.kill.lives import Containers, Life, Name, Said, live, name_of
from bench.kill.stream import Kind, Step, events
from schemas import ids
from schemas.event import now

PERSON = "person:generic:"
Place = tuple[int, int]
"""Partition and offset in `raw.events`."""


@dataclass(frozen=True, slots=True)
class Document:
    """The last state of one document: the step that said it."""

    workspace: str
    source_id: str
    step: Step
    version: int | None = None
    """None where the log, or the moment of a removal, decides it."""
    taken: bool = False
    """It is gone with a container that it stood in."""
    surely: bool = True
    """Whether sinks know it for certain, be it as deleted; what came behind a removal leaves no trace."""
    run: frozenset[UUID] = frozenset()
    """The events that said this state, one after the other: one of them was published."""

    @property
    def document_id(self) -> UUID:
        """Its id in every sink."""
        return ids.document_id(self.workspace, self.source_id, self.step.external_id)

    @property
    def deleted(self) -> bool:
        """Whether it is gone."""
        return self.taken or self.step.kind is Kind.DELETE

    @property
    def text(self) -> str:
        """Its text in every sink."""
        return "" if self.deleted else self.step.text

    @property
    def states(self) -> frozenset[str]:
        """Keys of the entities that it states; a document always states itself."""
        return frozenset() if self.deleted else frozenset({self._own, *(PERSON + name for name in self.step.authors)})

    @property
    def relations(self) -> frozenset[tuple[str, str, str]]:
        """Subject, predicate, object."""
        names = () if self.deleted else self.step.authors
        return frozenset((PERSON + name, "AUTHORED", self._own) for name in names)

    @property
    def pages(self) -> frozenset[str]:
        """Addresses that it links to."""
        return frozenset() if self.deleted else frozenset(self.step.links)

    @property
    def _own(self) -> str:
        return f"document:{self.document_id}"


@dataclass(frozen=True, slots=True)
class Ended:
    """What must become of one event."""

    event_id: UUID
    step: Step
    outcome: str
    """`documents`, `not_a_document`, or the reason of its dead letter."""
    document_id: UUID | None = None


@dataclass
class World:
    """Every document and every event of a stream, as a serial run leaves them."""

    sources: Mapping[tuple[str, str], str]
    """Source id by workspace and name."""
    documents: dict[UUID, Document] = field(default_factory=dict)
    events: dict[UUID, Ended] = field(default_factory=dict)
    began: datetime = field(default_factory=now)
    """A dead letter that names no workspace is this run's if it is not older."""
    canaries: dict[str, UUID] = field(default_factory=dict)
    """Which document each canary ever stood in."""
    contents: dict[UUID, set[UUID]] = field(default_factory=lambda: defaultdict(set))
    """What ever stood in each container, directly or not."""
    scattered: list[str] = field(default_factory=list)
    """Documents whose events stand in several partitions: nobody could tell their order."""
    effects: Counter[str] = field(default_factory=Counter)
    """How often the model itself met what the stream is there for."""

    @classmethod
    def of(
        cls, steps: list[Step], sources: Mapping[tuple[str, str], str], places: Mapping[UUID, Place] | None = None
    ) -> "World":
        """Play `steps` in the order in which the log has them; without `places`, in that in which they were made."""
        world = cls(sources)
        said: defaultdict[Name, list[Said]] = defaultdict(list)
        for step in events(steps):
            event_id = world._hear(step)
            if step.kind in {Kind.UPSERT, Kind.DELETE}:
                place = (places or {}).get(event_id, (0, step.number))
                said[name_of(step)].append(Said(step, event_id, place[1]))
        for states in said.values():
            states.sort(key=lambda each: each.arrival)
            world._ordered(states, places or {})
        world._play(said)
        return world

    @property
    def workspaces(self) -> list[str]:
        """The workspaces of the run; what others hold is none of its business."""
        return sorted({workspace for workspace, _ in self.sources})

    def event_id(self, step: Step) -> UUID:
        """Return the id that the gateway must give the event."""
        return ids.event_id(step.workspace, self.sources[step.workspace, step.source], step.delivery)

    def document_id(self, name: Name) -> UUID:
        """Return the id of the document of that name."""
        return ids.document_id(name[0], self.sources[name[:2]], name[2])

    def live(self, workspace: str) -> Iterator[Document]:
        """Yield the documents of a workspace that are not deleted."""
        return (each for each in self.documents.values() if each.workspace == workspace and not each.deleted)

    def dead(self) -> Iterable[Ended]:
        """Return the events that must end as dead letters."""
        return (ended for ended in self.events.values() if ended.step.kind is Kind.POISON)

    def overtaken(self, ended: Ended) -> bool:
        """Tell whether another event says a newer state of the document, or a container took it along.

        Only then may this one be left out, or if another event says the same state (`Document.run`).
        """
        if ended.document_id is None:
            return False
        document = self.documents[ended.document_id]
        return document.taken or ended.event_id not in document.run

    def _hear(self, step: Step) -> UUID:
        event_id = self.event_id(step)
        match step.kind:
            case Kind.POISON:
                self.events[event_id] = Ended(event_id, step, step.reason)
            case Kind.EMPTY:
                self.events[event_id] = Ended(event_id, step, "not_a_document")
            case Kind.UPSERT | Kind.DELETE:
                document_id = self.document_id(name_of(step))
                self.events[event_id] = Ended(event_id, step, "documents", document_id)
                if step.canary:
                    self.canaries[step.canary] = document_id
        return event_id

    def _ordered(self, states: list[Said], places: Mapping[UUID, Place]) -> None:
        partitions = {places[each.event_id][0] for each in states if each.event_id in places}
        if len(partitions) > 1:
            self.scattered.append(f"{name_of(states[0].step)}: partitions {sorted(partitions)}")

    def _play(self, said: Mapping[Name, list[Said]]) -> None:
        containers = Containers(said.items())
        last_act = max((each.step.act for states in said.values() for each in states), default=0)
        for name, states in said.items():
            ended = live(states, containers, last_act)
            document_id = self.document_id(name)
            for above in containers.above(name, {parent for each in states for parent in each.step.parents}):
                self.contents[self.document_id(above)].add(document_id)
            self.documents[document_id] = self._document(ended.life, taken=ended.taken, surely=ended.surely)

    def _document(self, life: Life, *, taken: bool, surely: bool) -> Document:
        assert life.newest is not None
        step = life.newest.step
        self.effects["versions of their own"] += life.shifts
        self.effects["taken along"] += taken
        self.effects["said again unchanged"] += len(life.run) - 1
        source_id = self.sources[step.workspace, step.source]
        return Document(step.workspace, source_id, step, life.version, taken, surely, frozenset(life.run))
