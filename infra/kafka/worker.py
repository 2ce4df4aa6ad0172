"""How a worker is declared: what it consumes, what it publishes, and a handler per topic.

    worker = Worker("embedder", tools=open_tools, publishes=(RECEIPTS,))

    @worker.handles(DOCUMENTS, batch=Micro(records=64))
    async def embed(versions: Sequence[Delivery[DocumentVersion]], tools: Tools) -> Iterable[Outgoing]: ...

A handler receives decoded, validated deliveries, has its effects, and returns what is to be published. The runtime
(`infra.kafka.runtime`) does everything else: decoding, tracing, order, retry, dead letters, publishing, and commits of
the contiguous finished prefix after effects and publications are durable. A handler says how a delivery failed by
raising `Transient` or `Permanent` (or letting an adapter's through), and must give the same effect when called again
with the same delivery: redelivery, replay and redrive all do that.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from infra.kafka.room import Limits
from schemas.envelope import Envelope, Origin
from schemas.event import Event
from topics.catalogue import Topic

Body = TypeVar("Body", bound=Event)
Tools = TypeVar("Tools")


class Delivery(NamedTuple, Generic[Body]):
    """One record, decoded: its body validated, its headers read."""

    body: Body
    envelope: Envelope
    origin: Origin
    """Where the record was first accepted: the coordinates of the record, or of the one that it redrives."""
    key: str


class Outgoing(NamedTuple):
    """An event to publish. Its envelope (id, workspace, cause, trace) is made by the runtime from the delivery."""

    topic: Topic[Any]
    body: Event
    cause: Delivery[Any]
    """The delivery that led to it. Its event id becomes the `cause` header and gives this event a deterministic id."""
    part: str = ""
    """Tells apart several events of one topic with one cause, for example a document id."""
    partition: int | None = None
    """Only for replies: the partition that the asker reads. Else the key decides."""
    tombstone: bool = False
    """Publish a null body under the key of `body`, so that compaction forgets the key."""


@dataclass(frozen=True, slots=True)
class Micro:
    """Hand over up to `records` records of one partition at once; never waits for more than are there."""

    records: int = 64
    bytes: int = 4 * 1024 * 1024

    def __post_init__(self) -> None:
        if self.records < 1 or self.bytes < 1:
            raise ValueError("a micro-batch holds at least one record and one byte")


@dataclass(frozen=True, slots=True)
class Each:
    """Hand over one record at a time, up to `concurrency` per partition at once; records of one key stay in order."""

    concurrency: int = 1

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ValueError("concurrency is at least 1")


Buried = Callable[[Delivery[Body]], Iterable[Outgoing]]
"""Returns what is published once a delivery has been dead-lettered: somebody may be waiting for what it asked for."""


def nobody_waits(_delivery: Delivery[Any]) -> Iterable[Outgoing]:
    """Publish nothing besides the dead letter."""
    return ()


Slices = AsyncIterator[Sequence[Outgoing]]
"""Publications that are made piece by piece: the next is asked for once the broker has acknowledged the one before."""

BatchHandler = Callable[[Sequence[Delivery[Body]], Tools], Awaitable[Iterable[Outgoing] | Slices]]
EachHandler = Callable[[Delivery[Body], Tools], Awaitable[Iterable[Outgoing]]]


@dataclass(frozen=True, slots=True)
class Subscription(Generic[Tools]):
    """A handler with the topic it reads; `handler` takes a batch whatever the author wrote."""

    topic: Topic[Any]
    mode: Micro | Each
    handler: BatchHandler[Any, Tools]
    buried: Buried[Any] = nobody_waits


@asynccontextmanager
async def _no_tools() -> AsyncIterator[None]:
    yield None


@dataclass
class Worker(Generic[Tools]):
    """A consumer of the log. `tools` opens what the handlers need (clients, models) and closes it at the end."""

    name: str
    tools: Callable[[], AbstractAsyncContextManager[Tools]]
    publishes: tuple[Topic[Any], ...] = ()
    follows: tuple[Topic[Any], ...] = ()
    """Topics that its tools read without a group (`infra.kafka.follow`): every process hears every record."""
    limits: Limits = field(default_factory=Limits)
    """What all its partitions may hold in memory together."""
    background: Callable[[Tools, "Publish"], Awaitable[None]] | None = None
    """A loop beside the handlers (a schedule, a sweep); its end or failure ends the worker."""
    subscriptions: list[Subscription[Tools]] = field(default_factory=list)
    group: str | Callable[[], str] = ""
    """Consumer group, or what reads it from the settings at start; empty means `millrace.<name>`."""

    @property
    def group_id(self) -> str:
        """Kafka consumer group of this worker."""
        return (self.group() if callable(self.group) else self.group) or f"millrace.{self.name}"

    def handles(
        self, topic: Topic[Body], batch: Micro | None = None
    ) -> Callable[[BatchHandler[Body, Tools]], BatchHandler[Body, Tools]]:
        """Register a handler that takes micro-batches of `topic`."""

        def register(handler: BatchHandler[Body, Tools]) -> BatchHandler[Body, Tools]:
            self.subscriptions.append(Subscription(topic, batch or Micro(), handler))
            return handler

        return register

    def handles_each(
        self, topic: Topic[Body], concurrency: int = 1, buried: Buried[Body] = nobody_waits
    ) -> Callable[[EachHandler[Body, Tools]], EachHandler[Body, Tools]]:
        """Register a handler that takes the records of `topic` one at a time: for work in front of slow calls.

        `buried` says what whoever waits for a record hears once it is dead-lettered.
        """

        def register(handler: EachHandler[Body, Tools]) -> EachHandler[Body, Tools]:
            async def single(deliveries: Sequence[Delivery[Body]], tools: Tools) -> Iterable[Outgoing]:
                (delivery,) = deliveries
                return await handler(delivery, tools)

            self.subscriptions.append(Subscription(topic, Each(concurrency), single, buried))
            return handler

        return register


Publish = Callable[[Topic[Any], Event, Envelope], Awaitable[None]]
"""Publishes an event that no delivery caused (a scheduled pull); returns when the broker has acknowledged it."""


def tool_less(name: str, publishes: tuple[Topic[Any], ...] = ()) -> Worker[None]:
    """Return a worker whose handlers need no tools (they are passed None)."""
    return Worker(name, tools=_no_tools, publishes=publishes)
