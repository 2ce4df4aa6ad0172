"""Admits a question only if its answer can begin before its deadline, as far as anybody can tell.

The wait is estimated from what the inference workers say of their queues (`infra.redis.load`) and from this gateway's
own questions that they cannot have told of yet. Where no worker has said anything, or none has finished an answer yet,
the wait is not known, and every question is admitted: its deadline still holds.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from gateway.problems import Code, Problem
from infra.redis.load import Posted
from infra.telemetry.metrics import Metric, count, observe
from schemas.chat import ChatRequest
from schemas.event import now


@dataclass(slots=True)
class _Workspace:
    """One workspace's questions at all workers."""

    waiting: int = 0
    at_work: int = 0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Known:
    """The queues of all workers together."""

    slots: int
    service_s: float
    workspaces: Mapping[str, _Workspace]

    @classmethod
    def of(cls, posts: Sequence[Posted]) -> "Known | None":
        """Sum up what is posted; None where nobody knows how long an answer takes."""
        measured = [(post.load.slots, post.load.service_s) for post in posts if post.load.service_s is not None]
        if not measured:
            return None
        workspaces: dict[str, _Workspace] = {}
        for post in posts:
            for name, queued in post.load.workspaces.items():
                own = workspaces.setdefault(name, _Workspace(weight=queued.weight))
                own.waiting += queued.waiting
                own.at_work += queued.at_work
        # Each process serves at its own pace: together they serve sum(slots / service) answers a second.
        rate = sum(slots / max(service_s, 1e-6) for slots, service_s in measured)
        return cls(sum(post.load.slots for post in posts), sum(slots for slots, _ in measured) / rate, workspaces)


def estimated_wait_s(known: Known, workspace: str, unheard: Mapping[str, int]) -> float:
    """Return the seconds until a question of `workspace` that comes now has its turn at these workers.

    `unheard` are questions per workspace that are on their way to the workers. Of the questions that wait, those of the
    asker's own workspace w are served before the new one, and of every other workspace at most its fair share of the
    turns until then (start-time fair queueing, decision 0010):

        ahead = q_w + sum over the others of min(q_j, ceil((q_w + 1) * weight_j / weight_w))

    All slots being busy, one falls free every service_s / slots seconds, so the new question waits for
    (ahead + 1) * service_s / slots: the queue-length predictor of W. Whitt, "Predicting Queueing Delays", Management
    Science 45 (6), 1999. Slots that are free now take the first of them at once.
    """
    queues = {name: own.waiting + unheard.get(name, 0) for name, own in known.workspaces.items()}
    queues.update({name: number for name, number in unheard.items() if name not in queues})
    weights = {name: own.weight for name, own in known.workspaces.items()}
    own_weight = weights.get(workspace, 1.0)
    turns = queues.get(workspace, 0) + 1
    ahead = turns - 1
    for name, number in queues.items():
        if name != workspace:
            ahead += min(number, math.ceil(turns * weights.get(name, 1.0) / own_weight))
    free = max(0, known.slots - sum(own.at_work for own in known.workspaces.values()))
    return 0.0 if ahead < free else (ahead - free + 1) * known.service_s / known.slots


class Underway:
    """Questions of this gateway that are not finished here."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asked: dict[str, dict[int, float]] = {}
        """When each was admitted, by workspace, oldest first."""
        self._serial = 0

    def enter(self, workspace: str) -> int:
        """Count a question of `workspace`; return the number by which it leaves."""
        self._serial += 1
        self._asked.setdefault(workspace, {})[self._serial] = self._clock()
        return self._serial

    def leave(self, workspace: str, number: int) -> None:
        """Count it no more."""
        own = self._asked[workspace]
        del own[number]
        if not own:
            del self._asked[workspace]

    def unheard(self, heard: Sequence[Known], age_s: float) -> dict[str, int]:
        """Return the questions per workspace that workers cannot have told of whose oldest post is `age_s` old.

        Those admitted since, and whatever this gateway alone has under way beyond what is `heard` of anywhere.
        """
        since = self._clock() - age_s
        found: dict[str, int] = {}
        for name, asked in self._asked.items():
            told = [known.workspaces[name] for known in heard if name in known.workspaces]
            beyond = len(asked) - sum(own.waiting + own.at_work for own in told)
            found[name] = max(beyond, _later(asked, since))
        return found


def _nothing() -> Sequence[Posted]:
    return ()


class Queue:
    """The questions of this gateway that are being answered, and whether there is room for another."""

    def __init__(
        self,
        writing: Callable[[], Sequence[Posted]] = _nothing,
        searching: Callable[[], Sequence[Posted]] = _nothing,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._writing = writing
        self._searching = searching
        self._answered, self._searched = Underway(clock), Underway(clock)

    def admit(self, request: ChatRequest) -> None:
        """Raise Problem(OVERLOADED) if the answer would begin after the request's deadline."""
        wait_s = self.wait_s(request.workspace, searched=request.retrieve, answered=_answered(request))
        if wait_s is None:
            return
        observe(Metric.ADMISSION_WAIT_SECONDS, wait_s)
        left_s = (request.deadline - now()).total_seconds()
        if wait_s > left_s:
            count(Metric.CHATS_REFUSED_TOTAL, "estimated_wait")
            raise Problem(
                Code.OVERLOADED,
                f"the answer would begin in about {wait_s:.0f} s, and is waited for {left_s:.0f} s",
                {"Retry-After": str(max(1, math.ceil(wait_s - left_s)))},
            )

    @contextmanager
    def entered(self, request: ChatRequest) -> Iterator[None]:
        """Count a question as being answered, inside the context."""
        queues = [self._answered] if _answered(request) else []
        if request.retrieve:
            queues.append(self._searched)
        entered = [(queue, queue.enter(request.workspace)) for queue in queues]
        try:
            yield
        finally:
            for queue, number in entered:
                queue.leave(request.workspace, number)

    def models(self) -> list[str]:
        """Return the names that the inference workers say can be asked for; none where nobody has told."""
        return sorted({name for post in self._writing() for name in post.load.models})

    def wait_s(self, workspace: str, *, searched: bool = False, answered: bool = True) -> float | None:
        """Return the estimated seconds until an answer to `workspace` begins; None if nobody knows.

        A question that is searched for and answered waits for the longer of the two queues: while it stands in one,
        the other empties.
        """
        posts = self._writing()
        writing = Known.of(posts)
        waits = []
        if answered and writing is not None:
            waits.append(estimated_wait_s(writing, workspace, self._answered.unheard([writing], _oldest(posts))))
        if searched and (searching := Known.of(found := self._searching())) is not None:
            # What the inference workers have is searched for already.
            heard = [searching] if writing is None else [searching, writing]
            waits.append(estimated_wait_s(searching, workspace, self._searched.unheard(heard, _oldest(found))))
        return max(waits, default=None)


def _answered(request: ChatRequest) -> bool:
    """Whether it goes on to the inference workers: a search is over before them."""
    return request.purpose != "search"


def _oldest(posts: Sequence[Posted]) -> float:
    return max(post.age_s for post in posts)


def _later(asked: dict[int, float], since: float) -> int:
    """Return how many were admitted after `since`; the newest stand last."""
    number = 0
    for serial in reversed(asked):
        if asked[serial] <= since:
            break
        number += 1
    return number
