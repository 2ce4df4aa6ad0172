"""Which steps of a scene must have been said, and have come to their end, before its next act."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence

from bench.kill.stream import Step, events


class Scenes:
    """The scenes of a stream, as far as they have been said."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps: defaultdict[str, list[Step]] = defaultdict(list)
        for step in steps:
            if step.scene:
                self._steps[step.scene].append(step)
        self._left = {(name, act): _count(said, act) for name, said in self._steps.items() for act in _acts(said)}
        self._over = {place: asyncio.Event() for place in self._left}
        self.ended: set[tuple[str, str, str]] = set()
        """Events that are known to have come to their end."""

    async def earlier(self, step: Step) -> Sequence[Step]:
        """Wait until every delivery of earlier acts is accepted, or given up; return those not known to have ended."""
        if step.act == 0:
            return []
        said = self._steps[step.scene]
        for act in _acts(said):
            if act < step.act:
                await self._over[step.scene, act].wait()
        return [each for each in events(said) if each.act < step.act and each.event not in self.ended]

    def said(self, step: Step) -> None:
        """Note that a delivery has been accepted, or given up."""
        place = (step.scene, step.act)
        if place in self._left:
            self._left[place] -= 1
            if self._left[place] == 0:
                self._over[place].set()


def _acts(said: Iterable[Step]) -> list[int]:
    return sorted({each.act for each in said})


def _count(said: Iterable[Step], act: int) -> int:
    return sum(each.act == act for each in said)
