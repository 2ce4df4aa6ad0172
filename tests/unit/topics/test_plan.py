"""What a difference between catalogue and broker leads to."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from topics.catalogue import (
    CATALOGUE,
    CHAT_REPLIES,
    CHAT_REQUESTS,
    DOCUMENTS,
    KIB,
    RAW_EVENTS,
    RECEIPTS,
    Topic,
    by_name,
)
from topics.plan import (
    AddPartitions,
    AlterConfigs,
    Cluster,
    CreateTopic,
    Plan,
    TopicState,
    configs_of,
    plan,
)

ONE = Cluster()
THREE = Cluster(replication_factor=3, min_insync_replicas=2)
DAY_MS = 86_400_000


def held(**changes: TopicState) -> dict[str, TopicState]:
    """Return a broker that holds the catalogue, but for `changes` (topic names with _ for dots)."""
    states = {
        topic.name: TopicState(topic.partitions, 1, configs_of(topic, ONE), configs_of(topic, ONE))
        for topic in CATALOGUE
    }
    return states | {name.replace("_", "."): state for name, state in changes.items()}


def of(topic_name: str, **changes: object) -> TopicState:
    state = held()[topic_name]
    return replace(state, **changes)  # type: ignore[arg-type]


def test_an_empty_broker_gets_every_topic() -> None:
    made = plan(CATALOGUE, {}, THREE)
    assert [change.topic for change in made.changes] == [topic.name for topic in CATALOGUE]
    assert all(isinstance(change, CreateTopic) and change.replication_factor == 3 for change in made.changes)
    assert all(
        change.configs["min.insync.replicas"] == "2" for change in made.changes if isinstance(change, CreateTopic)
    )
    assert made.refusals == made.undeclared == ()


def test_a_broker_that_holds_the_catalogue_is_left_alone() -> None:
    assert plan(CATALOGUE, held(), ONE) == Plan()


def test_topics_of_others_are_only_reported() -> None:
    others = {"someone.else": TopicState(1, 1), "__consumer_offsets": TopicState(4, 1)}
    assert plan(CATALOGUE, held() | others, ONE) == Plan(undeclared=("someone.else",))


def test_an_unordered_topic_gets_partitions() -> None:
    made = plan(CATALOGUE, held(receipts=of("receipts", partitions=1)), ONE)
    assert made.changes == (AddPartitions("receipts", 1, RECEIPTS.partitions),)
    assert str(made.changes[0]) == "add partitions to receipts: 1 -> 3"


@pytest.mark.parametrize(
    ("topic", "partitions", "why"),
    [
        *((topic, topic.partitions - 1, topic.fixed_partitions) for topic in CATALOGUE if topic.fixed_partitions),
        *((topic, topic.partitions + 6, "Kafka cannot remove partitions") for topic in CATALOGUE),
    ],
)
def test_partitions_that_would_break_order_are_refused(topic: object, partitions: int, why: str) -> None:
    name = topic.name  # type: ignore[attr-defined]
    made = plan(CATALOGUE, held() | {name: of(name, partitions=partitions)}, ONE)
    assert made.changes == ()
    (refusal,) = made.refusals
    assert (refusal.topic, refusal.reason) == (name, why)


@pytest.mark.parametrize("topic", [topic for topic in CATALOGUE if not topic.fixed_partitions], ids=lambda t: t.name)
def test_a_topic_that_declares_nothing_gets_more_partitions(topic: Topic[Any]) -> None:
    more = replace(topic, partitions=topic.partitions + 3)
    made = plan([more], {topic.name: of(topic.name)}, ONE)
    assert made == Plan(changes=(AddPartitions(topic.name, topic.partitions, topic.partitions + 3),))
    fixed = replace(more, fixed_partitions="its key stays where it is")
    assert [each.reason for each in plan([fixed], {topic.name: of(topic.name)}, ONE).refusals] == [
        "its key stays where it is"
    ]


def test_another_replication_is_refused_with_the_way_to_do_it() -> None:
    made = plan([RECEIPTS], {"receipts": TopicState(3, 1, configs_of(RECEIPTS, THREE))}, THREE)
    assert made.changes == ()
    assert "kafka-reassign-partitions" in made.refusals[0].reason


def test_a_longer_retention_is_set_and_other_overrides_stay() -> None:
    """AlterConfigs replaces the whole set: what an operator has set beside it must be repeated, or it is reset."""
    overrides = configs_of(RECEIPTS, ONE) | {"retention.ms": str(DAY_MS), "compression.type": "zstd"}
    state = TopicState(3, 1, overrides | {"flush.ms": "1"}, overrides)
    (change,) = plan([RECEIPTS], {"receipts": state}, ONE).changes
    assert isinstance(change, AlterConfigs)
    assert change.before == {"retention.ms": str(DAY_MS)}
    assert change.after == {"retention.ms": str(30 * DAY_MS)}
    assert change.overrides == configs_of(RECEIPTS, ONE) | {"compression.type": "zstd"}
    assert str(change) == f"configure receipts: retention.ms {DAY_MS} -> {30 * DAY_MS}"


@pytest.mark.parametrize("present", ["-1", str(31 * DAY_MS)])
def test_a_shorter_retention_is_refused(present: str) -> None:
    made = plan([RECEIPTS], {"receipts": TopicState(3, 1, configs_of(RECEIPTS, ONE) | {"retention.ms": present})}, ONE)
    assert made.changes == ()
    assert made.refusals[0].difference == f"retention.ms {present} -> {30 * DAY_MS}"


def test_another_clean_up_is_refused_and_the_rest_is_done() -> None:
    present = configs_of(DOCUMENTS, ONE) | {"cleanup.policy": "delete", "max.message.bytes": "1"}
    made = plan([DOCUMENTS], {"documents": TopicState(6, 1, present)}, ONE)
    assert [refusal.difference for refusal in made.refusals] == ["cleanup.policy delete -> compact"]
    assert [change.after for change in made.changes if isinstance(change, AlterConfigs)] == [
        {"max.message.bytes": "1048588"}
    ]


def test_a_config_that_the_broker_does_not_show_is_set() -> None:
    present = {name: value for name, value in configs_of(RECEIPTS, ONE).items() if name != "retention.ms"}
    (change,) = plan([RECEIPTS], {"receipts": TopicState(3, 1, present)}, ONE).changes
    assert str(change) == f"configure receipts: retention.ms unset -> {30 * DAY_MS}"


def test_compaction_keeps_what_a_sink_that_was_down_needs() -> None:
    configs = configs_of(DOCUMENTS, ONE)
    assert configs["cleanup.policy"] == "compact"
    assert configs["retention.ms"] == "-1"
    assert int(configs["min.compaction.lag.ms"]) == timedelta(days=7) / timedelta(milliseconds=1)
    assert int(configs["delete.retention.ms"]) == timedelta(days=30) / timedelta(milliseconds=1)


def test_a_short_retention_has_shorter_segments() -> None:
    """Kafka drops closed segments only: with a week's segment a day's retention would keep a week."""
    assert int(configs_of(CHAT_REPLIES, ONE)["segment.ms"]) == DAY_MS // 4
    assert int(configs_of(RAW_EVENTS, ONE)["segment.ms"]) == 7 * DAY_MS


def test_every_topic_takes_a_full_batch_and_its_largest_body() -> None:
    for topic in (*CATALOGUE, replace(CHAT_REQUESTS, max_bytes=2_000 * KIB)):
        limit = int(configs_of(topic, ONE)["max.message.bytes"])
        assert limit >= 1_048_588
        assert limit >= topic.max_bytes + 256 * KIB


def test_topics_are_found_by_name() -> None:
    assert by_name("raw.events") is RAW_EVENTS
    with pytest.raises(KeyError):
        by_name("nothing")
