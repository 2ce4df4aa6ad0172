"""The life of one document: what its states make of each other, in the order in which they were accepted.

Plain Python and none of the product's code. The rules are those that `docs/architecture.md` promises a source:

1. A state has a rank: the sender's number; else its date, then its acceptance; else its acceptance alone. Of equal
   numbers a deletion is above a text, then whatever was accepted later.
2. The state of the highest rank stays. What says the same under the same number is the same state.
3. Its version is the sender's number, unless that one, or a greater one, already means another state: then the next.
4. A user's deletion comes right after the state that they saw.
5. What is removed takes along what stands under it, whatever of that came before or meanwhile; what comes later stays
   out until the container is back and the thing is said again.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from bench.kill.stream import Kind, Step, Way

Rank: TypeAlias = tuple[int, int, bool, int]
Name: TypeAlias = tuple[str, str, str]
"""Workspace, name of the source, external id."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one event says of a document. `arrival`: its place among all that is said of the document."""

    step: Step
    event_id: UUID
    arrival: int

    @property
    def content(self) -> tuple[object, ...]:
        """All that makes it another state than one of the same number."""
        step = self.step
        if step.kind is Kind.DELETE:
            return ()
        cloud_event = b'"specversion"' in step.body
        return step.title, step.text, step.authors, step.links, step.dated, step.parents, cloud_event


def name_of(step: Step) -> Name:
    """Return what identifies the document of a step."""
    return step.workspace, step.source, step.external_id


@dataclass
class Life:
    """What is known of a document after so many states."""

    newest: Said | None = None
    rank: Rank = (-1, -1, False, -1)
    version: int | None = 0
    """None where the log, or the moment of a removal, decides it; then the text tells which state it is."""
    run: set[UUID] = field(default_factory=set)
    """Events that say the newest state, one after the other. One of them was published at least."""
    shifts: int = 0
    """States that got a version of their own."""

    def hear(self, said: Said, *, taken: bool = False) -> bool:
        """Take in the next state; tell whether it is the newest now. `taken`: a container took the last one along."""
        rank = self._rank(said)
        if self.newest is not None and rank < self.rank:
            return False
        same = self.newest is not None and said.content == self.newest.content and not taken
        if not same or self._number(rank) > self._number(self.rank):
            self.run = set()
            self.version = None if taken else self._next(said, rank)
        self.run.add(said.event_id)
        self.newest, self.rank = said, rank
        return True

    def _rank(self, said: Said) -> Rank:
        step, deleted = said.step, said.step.kind is Kind.DELETE
        if step.version is not None:
            return step.version, 0, deleted, said.arrival
        if step.way is Way.REMOVE and self.newest is not None and self.rank[1] == 0:
            return self.rank[0] + 1, 0, deleted, said.arrival
        seconds = self.rank[0] if step.way is Way.REMOVE else step.dated or 0
        # Acceptance counts from one here: nought says that the sender numbers its states.
        return max(seconds, 0), said.arrival + 1, deleted, said.arrival

    @staticmethod
    def _number(rank: Rank) -> int:
        return rank[0] if rank[1] == 0 else 0

    def _next(self, said: Said, rank: Rank) -> int | None:
        if rank[1] or self.version is None:
            return None
        if said.step.kind is Kind.DELETE and rank[0] == self.version:
            return self.version
        free = max(rank[0], self.version + 1)
        self.shifts += free > rank[0]
        return free


class Containers:
    """When containers were removed and came back, by act of their scene, and what stands under which."""

    def __init__(self, said: Iterable[tuple[Name, list[Said]]]) -> None:
        everything = list(said)
        self._above: defaultdict[Name, set[Name]] = defaultdict(set)
        for name, states in everything:
            self._above[name] |= {(*name[:2], parent) for each in states for parent in each.step.parents}
        self._turns: dict[Name, list[tuple[int, bool]]] = {}
        parents = {parent for above in self._above.values() for parent in above}
        for name, states in everything:
            if name in parents:
                self._turns[name] = list(_turns(states))

    def above(self, name: Name, parents: Iterable[str]) -> set[Name]:
        """Return all that a thing stands under which names `parents`: also what these stand under."""
        found: set[Name] = set()
        left = {(*name[:2], parent) for parent in parents}
        while left:
            parent = left.pop()
            found.add(parent)
            left |= self._above.get(parent, set()) - found
        return found

    def out(self, step: Step, upto: int) -> bool:
        """Tell whether, after act `upto`, a state is out because something that it stands under was removed."""
        if not step.parents:
            return False
        return any(self._out(above, step.act, upto) for above in self.above(name_of(step), step.parents))

    def _out(self, container: Name, said: int, upto: int) -> bool:
        earlier = [removed for act, removed in self._turns.get(container, []) if act < said]
        since = [removed for act, removed in self._turns.get(container, []) if said <= act <= upto]
        return any(since) or bool(earlier and earlier[-1])


def _turns(states: list[Said]) -> Iterator[tuple[int, bool]]:
    life = Life()
    for each in states:
        if life.hear(each):
            # A user's deletion leaves the contents alone, unless they say otherwise.
            takes = each.step.contents or each.step.way is Way.HOOK
            yield each.step.act, takes and each.step.kind is Kind.DELETE


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a life ended."""

    life: Life
    taken: bool
    """It is gone with something that it stood under."""
    surely: bool
    """Some state of it was let through for certain. Else a removal may have come first, and no sink knows it."""


def live(states: list[Said], containers: Containers, last_act: int) -> Outcome:
    """Play the states of one document, sorted by arrival, to the end of act `last_act`."""
    life, surely = Life(), False
    for at, said in enumerate(states):
        act = said.step.act
        held = life.newest
        taken = held is not None and containers.out(held.step, act)
        life.hear(said, taken=taken)
        newest = life.newest
        if newest is not None and containers.out(newest.step, act):
            life.version = None
        if newest is not None and (at + 1 == len(states) or states[at + 1].step.act > act):
            surely |= not containers.out(newest.step, act)
    assert life.newest is not None
    taken = containers.out(life.newest.step, last_act)
    if taken:
        life.version = None
    return Outcome(life, taken, surely or not _under(states))


def _under(states: Iterable[Said]) -> Set[str]:
    return {parent for each in states for parent in each.step.parents}
