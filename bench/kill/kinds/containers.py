"""Scenes of containers that are removed over their contents, and some of which come back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from bench.kill.kinds.writer import Writer
from bench.kill.stream import Step, Trait


class Naming(StrEnum):
    """How things name what they stand in."""

    FLAT = "flat"
    """One level only."""
    LISTED = "listed"
    """Two levels; a thing names all that it stands in."""
    TREE = "tree"
    """Two levels; a thing names only what it directly stands in."""


@dataclass
class Family:
    """A container, another one in it, and what stands in either."""

    writer: Writer
    naming: Naming
    numbered: bool
    children: list[Step] = field(default_factory=list)
    """First states."""
    versions: dict[str, int] = field(default_factory=dict)

    @property
    def root(self) -> str:
        """The outer container."""
        return f"box-{self.writer.index:05}"

    @property
    def inner(self) -> str:
        """The container in it."""
        return f"{self.root}/inner"

    def parents(self, container: str) -> tuple[str, ...]:
        """Return what a thing names that stands directly in `container`."""
        nested = container == self.inner and self.naming is Naming.LISTED
        return (self.root, self.inner) if nested else (container,)

    def under(self, step: Step, container: str) -> bool:
        """Tell whether a thing says that it stands in `container`, directly or not."""
        return container in step.parents or bool(step.parents and container == self.root)

    def say(
        self, name: str, parents: tuple[str, ...] = (), trait: Trait | None = None, *, in_turn: bool = True
    ) -> Step:
        """Say the next state of a thing."""
        version = self._next(name)
        return self.writer.say(name, version=version, parents=parents, trait=trait, in_turn=in_turn or not version)

    def delete(self, name: str, trait: Trait | None = None) -> Step:
        """Delete a thing by its source's word."""
        return self.writer.delete(name, version=self._next(name), trait=trait, in_turn=True)

    def leaf(self, container: str, trait: Trait | None = None) -> Step:
        """Say a thing that nobody has said before."""
        name = f"leaf-{self.writer.index:05}-{len(self.children)}"
        step = self.say(name, self.parents(container), trait, in_turn=self.writer.chance.random() < 0.5)
        self.children.append(step)
        return step

    def _next(self, name: str) -> int | None:
        self.versions[name] = self.versions.get(name, 0) + 1
        return self.versions[name] if self.numbered else None


def containers(writer: Writer) -> Iterator[Step]:
    """Fill a container, remove it (or the one in it) before, between or after its contents; bring some back."""
    chance = writer.chance
    family = Family(writer, chance.choice(list(Naming)), numbered=chance.random() < 0.6)
    gone = family.root if family.naming is Naming.FLAT or chance.random() < 0.6 else family.inner
    filling = list(_filling(family, gone))
    own = [step for step in filling if step.external_id == gone]
    if not family.numbered:
        # Its creation behind its removal would be its return.
        yield from own
        filling = [step for step in filling if step.external_id != gone]
    when = chance.choice(("before", "between", "after", "settled", "settled"))
    at = {"before": 0, "between": chance.randrange(max(1, len(filling)))}.get(when, len(filling))
    yield from filling[:at]
    writer.act += when == "settled"
    yield from _removal(family, gone, own if when == "settled" else ())
    for step in filling[at:]:
        yield replace(step, trait=step.trait or Trait.LATE_CHILD) if family.under(step, gone) else step
    # Half of the late ones come when nothing of the removal is under way any more.
    writer.act += chance.random() < 0.5
    yield from _late_ones(family, gone)
    if chance.random() < 0.5:
        yield from _return(family, gone)


def _filling(family: Family, gone: str) -> Iterator[Step]:
    """Say the contents. Containers are documents themselves in half of the scenes, the inner one of a tree always."""
    chance, steps = family.writer.chance, list[Step]()
    if family.naming is Naming.TREE or (family.naming is Naming.LISTED and chance.random() < 0.5):
        steps.append(family.say(family.inner, (family.root,)))
    if chance.random() < 0.5:
        steps.append(family.say(family.root))
    steps += [family.leaf(family.root) for _ in range(chance.randint(1, 3))]
    if family.naming is not Naming.FLAT:
        steps += [family.leaf(family.inner) for _ in range(chance.randint(1, 3))]
    chance.shuffle(steps)
    yield from steps
    for step in chance.sample(family.children, 1):
        yield family.writer.repeat(step) if chance.random() < 0.5 else family.say(step.external_id, step.parents)
    if chance.random() < 0.4:
        moved = next(step for step in family.children if family.under(step, gone))
        yield family.say(moved.external_id, (f"{family.root}-elsewhere",), Trait.MOVED)


def _removal(family: Family, gone: str, seen: Sequence[Step] = ()) -> Iterator[Step]:
    """Remove a container by its source's word, or by a user's who has `seen` it."""
    if seen and family.writer.chance.random() < 0.7:
        # It takes the number after the one that the user saw.
        family.versions[gone] += 1
        yield family.writer.remove(seen[-1], contents=True, trait=Trait.USER_REMOVAL)
        return
    step = family.delete(gone, Trait.CONTAINER_REMOVED)
    yield step
    if family.writer.chance.random() < 0.3:
        yield family.writer.repeat(step)


def _late_ones(family: Family, gone: str) -> Iterator[Step]:
    yield family.leaf(gone, Trait.LATE_CHILD)
    known = [step for step in family.children[:-1] if family.under(step, gone)]
    for step in family.writer.chance.sample(known, min(1, len(known))):
        yield family.writer.again(step, trait=Trait.LATE_CHILD)


def _return(family: Family, gone: str) -> Iterator[Step]:
    """Create the container again, then say again some of what stood in it; remove it once more now and then."""
    writer, chance = family.writer, family.writer.chance
    writer.act += 1
    outside = (family.root,) if gone == family.inner else ()
    yield family.say(gone, outside, Trait.CONTAINER_BACK)
    writer.act += 1
    if gone == family.root and family.inner in family.versions:
        yield family.say(family.inner, (family.root,), Trait.CHILD_BACK)
        writer.act += 1
    for step in family.children:
        match chance.choice(("again", "newer", "never")):
            case "again":
                yield writer.again(step, trait=Trait.CHILD_BACK)
            case "newer":
                yield family.say(step.external_id, step.parents, Trait.CHILD_BACK)
            case _:
                pass
    if chance.random() < 0.3:
        writer.act += chance.random() < 0.5
        yield from _removal(family, gone)
