"""What must change on the broker so that it holds the catalogue: decided here, without I/O.

`plan(CATALOGUE, broker)` compares; `infra.kafka.admin` reads the broker and acts. A difference that could lose or
reorder records is never a change: it is refused with the reason, and an operator decides. Topics that the catalogue
does not know are reported and left alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from topics.catalogue import KIB, Topic

RECORD_OVERHEAD = 256 * KIB
"""Room beside a body for its key and headers."""

SMALLEST_BATCH_LIMIT = 1_048_588
"""Kafka's own default of `max.message.bytes`. It bounds a batch of records, not one record, so a topic of small records
needs it as well: below it a producer's full batch would be refused."""

LONGEST_SEGMENT = timedelta(days=7)
"""Kafka's default of `segment.ms`. Retention only drops closed segments, so a short retention needs shorter ones."""

COMPACTION_LAG = timedelta(days=7)
"""How long every version of a key stays readable: a deletion is an event followed by a tombstone under one key, and a
sink that was down must still meet the event before compaction leaves the tombstone alone."""

TOMBSTONE_RETENTION = timedelta(days=30)
"""How long a tombstone outlives its key; a sink that was down for longer is rebuilt from offset 0."""

SHORTENING = frozenset({"retention.ms", "delete.retention.ms", "min.compaction.lag.ms"})
"""Configurations whose smaller value lets the broker forget records that it now keeps; -1 is for ever."""


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as the broker has it."""

    partitions: int
    replication_factor: int
    configs: Mapping[str, str] = field(default_factory=dict)
    """Effective values."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Values set on the topic itself. Kafka's AlterConfigs replaces them all, so a change must repeat them."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """How many copies the broker is to keep, and how many must have a record before it is acknowledged."""

    replication_factor: int = 1
    min_insync_replicas: int = 1


@dataclass(frozen=True, slots=True)
class CreateTopic:
    """Create a missing topic."""

    topic: str
    partitions: int
    replication_factor: int
    configs: Mapping[str, str]

    def __str__(self) -> str:
        return f"create {self.topic}: {self.partitions} partitions, replication {self.replication_factor}"


@dataclass(frozen=True, slots=True)
class AlterConfigs:
    """Set configurations of a topic. `overrides` is the whole new set, `before` and `after` what differs."""

    topic: str
    before: Mapping[str, str]
    after: Mapping[str, str]
    overrides: Mapping[str, str]

    def __str__(self) -> str:
        values = ", ".join(f"{name} {self.before.get(name, 'unset')} -> {value}" for name, value in self.after.items())
        return f"configure {self.topic}: {values}"


@dataclass(frozen=True, slots=True)
class AddPartitions:
    """Add partitions to a topic whose records need no order across the change."""

    topic: str
    before: int
    after: int

    def __str__(self) -> str:
        return f"add partitions to {self.topic}: {self.before} -> {self.after}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A difference that is not changed, and why."""

    topic: str
    difference: str
    reason: str

    def __str__(self) -> str:
        return f"refused for {self.topic}: {self.difference}: {self.reason}"


Change = CreateTopic | AlterConfigs | AddPartitions


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, what is refused, and which topics nobody declared."""

    changes: tuple[Change, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    undeclared: tuple[str, ...] = ()


def configs_of(topic: Topic[Any], cluster: Cluster) -> dict[str, str]:
    """Return the broker configuration of `topic`."""
    configs = {
        "cleanup.policy": "compact" if topic.compacted else "delete",
        "retention.ms": "-1" if topic.retention is None else str(_ms(topic.retention)),
        "max.message.bytes": str(max(SMALLEST_BATCH_LIMIT, topic.max_bytes + RECORD_OVERHEAD)),
        "min.insync.replicas": str(cluster.min_insync_replicas),
    }
    if topic.compacted:
        configs["min.compaction.lag.ms"] = str(_ms(COMPACTION_LAG))
        configs["delete.retention.ms"] = str(_ms(TOMBSTONE_RETENTION))
    if topic.retention is not None:
        configs["segment.ms"] = str(_ms(min(LONGEST_SEGMENT, topic.retention / 4)))
    return configs


def plan(catalogue: Iterable[Topic[Any]], broker: Mapping[str, TopicState], cluster: Cluster) -> Plan:
    """Compare `catalogue` with `broker` (topic name to state). Kafka's internal topics (`__…`) are passed over."""
    declared = tuple(catalogue)
    decisions = [decision for topic in declared for decision in _decide(topic, broker.get(topic.name), cluster)]
    names = {topic.name for topic in declared}
    undeclared = tuple(sorted(name for name in broker if name not in names and not name.startswith("__")))
    return Plan(
        changes=tuple(decision for decision in decisions if not isinstance(decision, Refusal)),
        refusals=tuple(decision for decision in decisions if isinstance(decision, Refusal)),
        undeclared=undeclared,
    )


def _decide(topic: Topic[Any], state: TopicState | None, cluster: Cluster) -> Iterator[Change | Refusal]:
    if state is None:
        yield CreateTopic(topic.name, topic.partitions, cluster.replication_factor, configs_of(topic, cluster))
        return
    yield from _partitions(topic, state)
    yield from _replication(topic, state, cluster)
    yield from _configs(topic, state, cluster)


def _ms(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)


def _partitions(topic: Topic[Any], state: TopicState) -> Iterator[AddPartitions | Refusal]:
    if topic.partitions == state.partitions:
        return
    difference = f"{state.partitions} partitions, declared {topic.partitions}"
    if topic.partitions < state.partitions:
        yield Refusal(topic.name, difference, "Kafka cannot remove partitions")
    elif topic.fixed_partitions:
        yield Refusal(topic.name, difference, topic.fixed_partitions)
    else:
        yield AddPartitions(topic.name, state.partitions, topic.partitions)


def _replication(topic: Topic[Any], state: TopicState, cluster: Cluster) -> Iterator[Refusal]:
    if state.replication_factor != cluster.replication_factor:
        difference = f"replication {state.replication_factor}, wanted {cluster.replication_factor}"
        yield Refusal(topic.name, difference, "moving replicas copies all data: use Kafka's kafka-reassign-partitions")


def _configs(topic: Topic[Any], state: TopicState, cluster: Cluster) -> Iterator[AlterConfigs | Refusal]:
    wanted = configs_of(topic, cluster)
    differing = {name: value for name, value in wanted.items() if state.configs.get(name) != value}
    accepted: dict[str, str] = {}
    for name, value in differing.items():
        present = state.configs.get(name)
        reason = _danger(name, present, value)
        if reason:
            yield Refusal(topic.name, f"{name} {present} -> {value}", reason)
        else:
            accepted[name] = value
    if accepted:
        before = {name: state.configs[name] for name in accepted if name in state.configs}
        yield AlterConfigs(topic.name, before, accepted, {**state.overrides, **accepted})


def _danger(name: str, present: str | None, wanted: str) -> str:
    if present is None:
        return ""
    if name == "cleanup.policy":
        return "another clean-up policy deletes records that are kept now"
    if name in SHORTENING and _forever(present) > _forever(wanted):
        return "a shorter time deletes records that are kept now"
    return ""


def _forever(milliseconds: str) -> float:
    return float("inf") if milliseconds == "-1" else float(milliseconds)
