"""What one number owes to another, wherever the two stand: promises that would else be kept by comments alone."""

import ast
from datetime import timedelta

import httpx
import pytest
from pydantic import ValidationError

from gateway.connections import REMEMBERED_S
from gateway.settings import GatewaySettings
from infra.kafka.producer import BATCH_BYTES, CLOSE_S, MAX_REQUEST_BYTES
from infra.kafka.room import FETCH_BYTES
from infra.kafka.timing import Timing
from infra.postgres.receipts import EXPIRED_AFTER
from infra.qdrant.door.__main__ import KEEP_ALIVE_S
from infra.redis.kept_answers import LONGEST_TTL_S, MARK_TTL_S
from infra.transport import KEPT_S
from schemas.chat import LONGEST_PATIENCE_S
from tests.contract.code import name_of, sources, tree
from topics.catalogue import (
    CATALOGUE,
    CHAT_CANCELS,
    CHAT_REPLIES,
    CONVERSATION_CHANGES,
    INTERACTIONS,
    RAW_EVENTS,
    Topic,
    by_name,
)
from topics.plan import COMPACTION_LAG, RECORD_OVERHEAD, SMALLEST_BATCH_LIMIT, TOMBSTONE_RETENTION
from workers.connectors.settings import ConnectorsSettings
from workers.inference.settings import InferenceSettings
from workers.retriever.settings import RetrieverSettings
from workers.settings import HostSettings

STOP_S = 30
"""A process that is told to stop has so long, by the supervisor and by orchestrators."""

NUMBERED_BY_OFFSETS = {
    "workers/normalizer": RAW_EVENTS,
    "workers/archivist": CONVERSATION_CHANGES,
}
"""Who makes versions of offsets, and the topic whose offsets they are."""


def kept(topic: Topic[object]) -> timedelta:
    return timedelta.max if topic.retention is None else topic.retention


@pytest.mark.parametrize("topic", CATALOGUE, ids=lambda topic: topic.name)
def test_a_topic_is_kept_as_long_as_what_it_speaks_of(topic: Topic[object]) -> None:
    for name in topic.outlives:
        assert kept(topic) >= kept(by_name(name)), name


def test_a_deletion_is_kept_longer_than_what_it_deletes() -> None:
    assert kept(CONVERSATION_CHANGES) > kept(INTERACTIONS)


@pytest.mark.parametrize("topic", [topic for topic in CATALOGUE if topic.compacted], ids=lambda topic: topic.name)
def test_a_compacted_topic_has_fixed_partitions_and_is_kept_for_ever(topic: Topic[object]) -> None:
    assert topic.fixed_partitions
    assert topic.retention is None
    assert COMPACTION_LAG < TOMBSTONE_RETENTION


def test_a_topic_whose_offsets_are_versions_has_fixed_partitions() -> None:
    assert all(topic.fixed_partitions for topic in NUMBERED_BY_OFFSETS.values())


def reads_an_offset_for_a_version(function: ast.AST) -> bool:
    named = isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and "version" in function.name
    return named and any(
        "offset" in {getattr(node, "attr", ""), getattr(node, "id", "")} for node in ast.walk(function)
    )


def test_no_other_version_is_made_of_an_offset() -> None:
    """A new one has to name its topic here, and the topic to declare its partitions fixed."""
    found = {
        name_of(path.parent)
        for path in sources("workers", "gateway", "infra")
        for node in ast.walk(tree(path))
        if reads_an_offset_for_a_version(node)
    }
    assert found == set(NUMBERED_BY_OFFSETS)


@pytest.mark.parametrize("topic", CATALOGUE, ids=lambda topic: topic.name)
def test_the_producer_and_the_broker_take_the_largest_body(topic: Topic[object]) -> None:
    assert topic.max_bytes + RECORD_OVERHEAD <= MAX_REQUEST_BYTES
    assert 2 * BATCH_BYTES <= SMALLEST_BATCH_LIMIT
    assert BATCH_BYTES <= FETCH_BYTES


def test_what_is_kept_for_a_question_is_kept_longer_than_it_can_be_under_way() -> None:
    with pytest.raises(ValidationError):
        GatewaySettings.model_validate({"MILLRACE_ANSWER_TIMEOUT_S": LONGEST_PATIENCE_S + 1})
    for settings in (InferenceSettings, RetrieverSettings):
        assert settings().cancels_remembered_s >= LONGEST_PATIENCE_S
        with pytest.raises(ValidationError):
            settings.model_validate({"INFERENCE_CANCELS_REMEMBERED_S": LONGEST_PATIENCE_S - 1})
    for topic in (CHAT_CANCELS, CHAT_REPLIES):
        assert kept(topic) > timedelta(seconds=LONGEST_PATIENCE_S), topic.name
    assert MARK_TTL_S > 10 * LONGEST_PATIENCE_S
    assert kept(CHAT_REPLIES) >= timedelta(seconds=REMEMBERED_S)
    assert timedelta(seconds=LONGEST_TTL_S) < EXPIRED_AFTER


def test_a_claimed_source_is_left_alone_for_longer_than_a_pull_takes() -> None:
    with pytest.raises(ValidationError, match="MILLRACE_PULL_LEASE_SECONDS"):
        ConnectorsSettings.model_validate({"MILLRACE_PULL_LEASE_SECONDS": 100, "MILLRACE_FETCH_SECONDS": 60})
    assert ConnectorsSettings().lease_seconds >= 2 * ConnectorsSettings().fetch_seconds


def test_a_stop_is_over_before_the_process_is_killed() -> None:
    timing = Timing()
    # What runs out, a commit under way and a last one, leaving the group, flushing what is sent.
    assert timing.stop_grace_s + 2 * timing.commit_within_s + timing.leave_within_s + CLOSE_S <= STOP_S
    assert GatewaySettings().stop_timeout_s < STOP_S
    assert 3 * timing.heartbeat_s < timing.session_s
    assert timing.revoke_grace_s < timing.rebalance_s


def test_a_worker_counts_as_stuck_later_than_what_it_does_may_take() -> None:
    assert HostSettings().stalled_after_s > GatewaySettings().answer_timeout_s
    assert Timing().stuck_after_s == HostSettings().stalled_after_s


def test_who_sends_hangs_up_before_who_listens() -> None:
    assert KEPT_S < KEEP_ALIVE_S
    assert (httpx.Limits().keepalive_expiry or 0) < KEEP_ALIVE_S
