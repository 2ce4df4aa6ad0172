"""Who is next: slots are handed out fairly between workspaces, not in order of arrival.

Start-time fair queueing (P. Goyal, H. Vin, H. Cheng, "Start-time Fair Queuing", SIGCOMM 1996). Each workspace has a
tag, the service that it has had in seconds of a slot divided by its weight; the lowest is next, and of equal ones the
one served least recently. How long an answer will take is not known when its turn begins: the mean is charged, and
corrected when the turn ends. A workspace that comes back from a rest starts at the lowest service of those that wait or
are at work, so that it saves nothing up; what was charged for answers that are not finished does not count there. (The
paper starts it at the tag served last. After guesses that were too long that lies far above the tags of those who were
corrected since, and the newcomer would wait for all the difference.)

A question may stand in a lane, which is the backend that it is for. While a lane has no room its questions wait, and
those behind them that are for another backend go first.

With one workspace flooding, another one's question is next as soon as any slot is free; with n workspaces waiting, it
waits for at most one answer of each of the others, shared by all slots.
"""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")

FIRST_GUESS_S = 1.0
"""Charged for a turn before any has ended."""
_SMOOTHING = 0.1
"""Share of the newest turn in the mean: about the last twenty turns count."""


@dataclass(order=True, slots=True)
class Waiter(Generic[Item]):
    """One question in the queue, the earliest accepted of its workspace first."""

    accepted_at: float
    serial: int
    workspace: str = field(compare=False)
    item: Item = field(compare=False)
    lane: str = field(default="", compare=False)
    gone: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn that was given, with what was charged for it in seconds."""

    workspace: str
    charged_s: float
    lane: str = ""


def _any_lane(_lane: str) -> bool:
    return True


@dataclass(slots=True)
class _Workspace(Generic[Item]):
    weight: float
    had: float = 0.0
    """Seconds of slots that finished answers took, divided by the weight; or where it started."""
    charged: float = 0.0
    """The same for those being written, as guessed."""
    served: int = 0
    """Serial number of its last turn."""
    lanes: dict[str, list[Waiter[Item]]] = field(default_factory=dict)
    """Its waiters by lane, each a heap."""
    waiting: int = 0
    at_work: int = 0

    @property
    def tag(self) -> float:
        return self.had + self.charged

    @property
    def active(self) -> bool:
        """Whether any of its questions wait or are being answered."""
        return bool(self.waiting or self.at_work)

    def first(self, has_room: Callable[[str], bool]) -> Waiter[Item] | None:
        """Return the earliest of its questions whose lane has room."""
        firsts = []
        for lane, heap in list(self.lanes.items()):
            while heap and heap[0].gone:
                heapq.heappop(heap)
            if not heap:
                del self.lanes[lane]
            elif has_room(lane):
                firsts.append(heap[0])
        return min(firsts, default=None)


class Turns(Generic[Item]):
    """The queue itself: no clock, no tasks."""

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self._weights = weights or {}
        self._workspaces: dict[str, _Workspace[Item]] = {}
        self._serial = 0
        self._waiting = 0
        self._at_work = 0
        self.mean_s = FIRST_GUESS_S
        """Mean length of a turn, in seconds."""

    def __len__(self) -> int:
        """How many wait."""
        return self._waiting

    def join(self, workspace: str, accepted_at: float, item: Item, lane: str = "") -> Waiter[Item]:
        """Queue up `item` for `lane`; `accepted_at` orders the items of one workspace."""
        own = self._workspaces.get(workspace)
        if own is None:
            own = self._workspaces[workspace] = _Workspace(self._weights.get(workspace, 1.0))
        if not own.active:
            own.had, own.charged = max(own.had, self._lowest()), 0.0
        self._serial += 1
        waiter = Waiter(accepted_at, self._serial, workspace, item, lane)
        heapq.heappush(own.lanes.setdefault(lane, []), waiter)
        own.waiting += 1
        self._waiting += 1
        return waiter

    def leave(self, waiter: Waiter[Item]) -> None:
        """Take a waiter out of the queue, once."""
        waiter.gone = True
        own = self._workspaces[waiter.workspace]
        own.waiting -= 1
        self._waiting -= 1
        if not own.waiting:
            own.lanes.clear()
        self._forget()

    def next(self, has_room: Callable[[str], bool] = _any_lane) -> tuple[Item, Turn]:
        """Give the next turn to whom `has_room`. Raises IndexError if nobody waits who could go."""
        candidates = [
            (own.tag, own.served, name, first)
            for name, own in self._workspaces.items()
            if own.waiting and (first := own.first(has_room)) is not None
        ]
        if not candidates:
            raise IndexError("nobody waits who could go")
        _, _, name, waiter = min(candidates)
        own = self._workspaces[name]
        heapq.heappop(own.lanes[waiter.lane])
        own.waiting -= 1
        own.at_work += 1
        self._waiting -= 1
        self._at_work += 1
        self._serial += 1
        own.served = self._serial
        own.charged += self.mean_s / own.weight
        return waiter.item, Turn(name, self.mean_s, waiter.lane)

    def ended(self, turn: Turn, took_s: float | None) -> None:
        """Charge a turn's true length; None for one that was given and not taken."""
        own = self._workspaces[turn.workspace]
        own.charged -= turn.charged_s / own.weight
        own.had += (took_s or 0.0) / own.weight
        own.at_work -= 1
        self._at_work -= 1
        if took_s is not None:
            self.mean_s += _SMOOTHING * (took_s - self.mean_s)
        self._forget()

    def queues(self) -> dict[str, tuple[int, int, float]]:
        """Return by workspace how many wait and how many are at work, and its weight; only those with any."""
        return {name: (own.waiting, own.at_work, own.weight) for name, own in self._workspaces.items() if own.active}

    def _lowest(self) -> float:
        return min((own.had for own in self._workspaces.values() if own.active), default=0.0)

    def _forget(self) -> None:
        """Drop workspaces that rest and had no more than others; all of them once nobody waits or works."""
        if not self._waiting and not self._at_work:
            self._workspaces.clear()
            return
        lowest = self._lowest()
        for name in [name for name, own in self._workspaces.items() if not own.active and own.had <= lowest]:
            del self._workspaces[name]
