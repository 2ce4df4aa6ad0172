"""The serial model: what every sink must hold once all steps have had their effects, each once, one after the other.

Pure Python and none of the workers' code; from Millrace come only the ids, which are the contract with the reader.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from bench.kill.stream import UPLOADS, Kind, Step, events
from schemas import ids
from schemas.event import now

PERSON = "person:generic:"


@dataclass(frozen=True, slots=True)
class Document:
    """The last state of one document: the step that said it."""

    workspace: str
    source_id: str
    step: Step

    @property
    def document_id(self) -> UUID:
        """Its id in every sink."""
        return ids.document_id(self.workspace, self.source_id, self.step.external_id)

    @property
    def deleted(self) -> bool:
        """Whether its last state is its deletion."""
        return self.step.kind is Kind.DELETE

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
    alike: Counter[tuple[UUID, tuple[object, ...]]] = field(default_factory=Counter)
    """How many events say the same words of a document."""

    @classmethod
    def of(cls, steps: list[Step], sources: Mapping[tuple[str, str], str]) -> "World":
        """Play `steps` one after the other."""
        world = cls(sources)
        for step in events(steps):
            world._play(step)
        return world

    @property
    def workspaces(self) -> list[str]:
        """The workspaces of the run; what others hold is none of its business."""
        return sorted({workspace for workspace, _ in self.sources})

    def event_id(self, step: Step) -> UUID:
        """Return the id that the gateway must give the event."""
        return ids.event_id(step.workspace, self.sources[step.workspace, step.source], step.delivery)

    def live(self, workspace: str) -> Iterator[Document]:
        """Yield the documents of a workspace that are not deleted."""
        return (each for each in self.documents.values() if each.workspace == workspace and not each.deleted)

    def dead(self) -> Iterable[Ended]:
        """Return the events that must end as dead letters."""
        return (ended for ended in self.events.values() if ended.step.kind is Kind.POISON)

    def overtaken(self, ended: Ended) -> bool:
        """Tell whether another event has a newer state of the document, or the same: only then may this be left out."""
        if ended.document_id is None:
            return False
        newest = self.documents[ended.document_id].step
        if self.alike[ended.document_id, ended.step.words] > 1:
            return True
        if ended.step.exact_version is None:
            return newest.event != ended.step.event
        return (newest.version or 0) > ended.step.version

    def _play(self, step: Step) -> None:
        event_id = self.event_id(step)
        match step.kind:
            case Kind.POISON:
                self.events[event_id] = Ended(event_id, step, step.reason)
            case Kind.EMPTY:
                self.events[event_id] = Ended(event_id, step, "not_a_document")
            case Kind.UPSERT | Kind.DELETE:
                said = Document(step.workspace, self.sources[step.workspace, step.source], step)
                self.events[event_id] = Ended(event_id, step, "documents", said.document_id)
                self.alike[said.document_id, step.words] += 1
                if step.canary:
                    self.canaries[step.canary] = said.document_id
                if newer(said, self.documents.get(said.document_id)):
                    self.documents[said.document_id] = said


def newer(said: Document, held: Document | None) -> bool:
    """Tell whether `said` replaces `held`: the greater number wins; without numbers, whoever speaks later.

    Of equal numbers a deletion wins, else whoever speaks later.
    """
    if held is None or said.step.source == UPLOADS:
        return True
    if said.step.ordered:
        return ((said.step.version or 0), said.deleted) >= ((held.step.version or 0), held.deleted)
    return (said.step.version or 0) > (held.step.version or 0)
