"""Weaves the scenes into the plain stream: many under way at once, so that the acts of each lie apart."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

from bench.kill.kinds.containers import containers
from bench.kill.kinds.flood import flood
from bench.kill.kinds.texts import back, deleted, equal
from bench.kill.kinds.writer import Writer
from bench.kill.stream import UPLOADS, Step, Stream, Trait

UNDER_WAY = 12
"""Scenes that go on at once."""
FLOOD_FROM, FLOOD_SHARE = 0.4, 0.2
"""Where in the stream the flood begins, and how much of it is flood."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A kind of scene: who writes it, which share of the stream it has, and what it must bring."""

    write: Callable[[Writer], Iterator[Step]]
    share: float
    traits: tuple[Trait, ...]
    uploads: bool = False
    """It may also be played with uploads."""


PLOTS = {
    "equal": Plot(equal, 0.09, (Trait.EQUAL_VERSION, Trait.EQUAL_DATE, Trait.SAID_AGAIN)),
    "back": Plot(back, 0.09, (Trait.WAY_BACK, Trait.SAID_AGAIN), uploads=True),
    "containers": Plot(
        containers,
        0.17,
        (
            Trait.CONTAINER_REMOVED,
            Trait.USER_REMOVAL,
            Trait.LATE_CHILD,
            Trait.CONTAINER_BACK,
            Trait.CHILD_BACK,
            Trait.MOVED,
        ),
    ),
    "deleted": Plot(deleted, 0.05, (Trait.USER_DELETION,)),
}
FLOOD = "flood"
KINDS = (*PLOTS, FLOOD)
"""All that can be left out."""


def needed(kinds: Sequence[str]) -> set[Trait]:
    """Return what a stream of these kinds must hold."""
    traits = {trait for kind in kinds if kind in PLOTS for trait in PLOTS[kind].traits}
    return traits | ({Trait.FLOOD} if FLOOD in kinds else set())


def traits_of(steps: Sequence[Step]) -> Counter[str]:
    """Return how many deliveries are there for what."""
    return Counter(step.trait.value for step in steps if step.trait)


class Mix:
    """Writes a whole stream. The same seed gives the same steps."""

    def __init__(
        self, seed: int, workspaces: tuple[str, ...], sources: tuple[str, ...], kinds: Sequence[str] = KINDS
    ) -> None:
        self._random = random.Random(f"kinds {seed}")
        self._tag = f"k{seed}"
        self._workspaces = workspaces
        self._sources = sources
        self._kinds = kinds
        self._serials = count()
        self._indexes: Counter[tuple[str, str, str]] = Counter()
        self._plain = Stream(seed, workspaces, sources)

    def steps(self, count: int) -> list[Step]:
        """Return `count` steps in the order in which they are to be said."""
        flooded = int(count * FLOOD_SHARE) if FLOOD in self._kinds else 0
        shares = {kind: PLOTS[kind].share for kind in self._kinds if kind in PLOTS}
        scenes = [scene for kind, share in shares.items() for scene in self._scenes(kind, int(count * share))]
        self._random.shuffle(scenes)
        played = list(self._woven(scenes))
        plain = self._plain.steps(count - len(played) - flooded)
        steps = self._among(plain, played)
        if flooded:
            at = int(len(steps) * FLOOD_FROM)
            steps[at:at] = flood(self._flooding(), flooded)
        return _numbered(steps)

    def _scenes(self, kind: str, count: int) -> Iterator[list[Step]]:
        """Yield whole scenes of a kind, of at most `count` steps together, one of it at least."""
        left = count
        while left > 0:
            scene = list(PLOTS[kind].write(self._writer(kind)))
            if len(scene) > left and left < count:
                return
            left -= len(scene)
            yield scene

    def _writer(self, kind: str, place: tuple[str, str] | None = None) -> Writer:
        upload = kind in PLOTS and PLOTS[kind].uploads and self._random.random() < 0.35
        source = UPLOADS if upload else self._random.choice(self._sources)
        workspace, source = place or (self._random.choice(self._workspaces), source)
        serial = next(self._serials)
        self._indexes[kind, workspace, source] += 1
        index = self._indexes[kind, workspace, source]
        crowd = self._workspaces.index(workspace)
        return Writer(self._random, f"{self._tag}-{serial}", serial, index, workspace, source, crowd)

    def _flooding(self) -> list[Writer]:
        return [self._writer(FLOOD, (self._workspaces[-1], source)) for source in (*self._sources, UPLOADS)]

    def _woven(self, scenes: list[list[Step]]) -> Iterator[Step]:
        """Play the scenes, some at once, each in its order."""
        waiting = iter(scenes)
        playing = [iter(scene) for _, scene in zip(range(UNDER_WAY), waiting, strict=False)]
        while playing:
            at = self._random.randrange(len(playing))
            step = next(playing[at], None)
            if step is not None:
                yield step
            elif (following := next(waiting, None)) is not None:
                playing[at] = iter(following)
            else:
                playing.pop(at)

    def _among(self, plain: list[Step], played: list[Step]) -> list[Step]:
        """Spread `played` over `plain`; both keep their order."""
        every = range(len(plain) + len(played))
        places = set(self._random.sample(every, len(played)))
        scenes, left = iter(played), iter(plain)
        return [next(scenes if place in places else left) for place in every]


def _numbered(steps: Sequence[Step]) -> list[Step]:
    """Number the steps in the order in which they were made; those of the plain stream were shuffled since."""
    made = sorted((step for step in steps if not step.scene), key=lambda step: step.number)
    places = [place for place, step in enumerate(steps) if not step.scene]
    numbers = {id(step): place for step, place in zip(made, places, strict=True)}
    return [replace(step, number=numbers.get(id(step), place)) for place, step in enumerate(steps)]
