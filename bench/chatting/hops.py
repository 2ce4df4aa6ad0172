"""Where the time of a question goes, from the times at which each process made its record."""

import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.chatting.client import OK, Connection, Target
from infra.kafka.codec import decode
from infra.objects.store import ObjectStore
from schemas.chat import ChatReply, ChatRequest
from topics.catalogue import CHAT_PROMPTS, CHAT_REPLIES, CHAT_REQUESTS, Topic

STEPS = (
    "client to question made",
    "question on the log, read and made a prompt",
    "prompt on the log, read, answered by the backend",
    "reply on the log, read, told to the client",
)


async def traced(target: Target, asked: Sequence[str], environment: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Ask one question after the other; return the milliseconds of each step, as p50 and p99.

    All processes run on this machine and share its clock.
    """
    times: dict[str, tuple[datetime, datetime]] = {}
    async with Connection(target) as connection:
        for question in asked:
            began = datetime.now(UTC)
            if (found := await connection.ask(question)).status != OK:
                raise RuntimeError(f"a question was answered {found.status}")
            times[question] = began, datetime.now(UTC)
    made = [await _made(topic, environment) for topic in (CHAT_REQUESTS, CHAT_PROMPTS, CHAT_REPLIES)]
    steps: list[list[float]] = [[] for _ in STEPS]
    for request_id, (asked_at, body) in made[0].items():
        if isinstance(body, ChatRequest) and (own := times.get(body.messages[-1].content)) is not None:
            moments = (own[0], asked_at, made[1][request_id][0], made[2][request_id][0], own[1])
            for step, (earlier, later) in enumerate(pairwise(moments)):
                steps[step].append((later - earlier).total_seconds() * 1_000)
    return {
        name: {
            "p50_ms": round(statistics.median(taken), 2),
            "p99_ms": round(statistics.quantiles(taken, n=100, method="inclusive")[98], 2),
        }
        for name, taken in zip(STEPS, steps, strict=True)
    }


async def _made(topic: Topic[Any], environment: Mapping[str, str]) -> dict[UUID, tuple[datetime, Any]]:
    """Return when each record of `topic` was made, and its body, by request; of several the last."""
    objects = ObjectStore.open(environment["OBJECT_STORE_URL"])
    consumer = AIOKafkaConsumer(bootstrap_servers=environment["KAFKA_BOOTSTRAP_SERVERS"], enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found: dict[UUID, tuple[datetime, Any]] = {}
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                for record in (await consumer.getmany(partition, timeout_ms=500)).get(partition, []):
                    delivery = await decode(record, topic, objects)
                    if delivery is not None and not _piece(delivery.body):
                        found[_request_of(delivery.body)] = delivery.envelope.time, delivery.body
        return found
    finally:
        await consumer.stop()


def _piece(body: Any) -> bool:
    return isinstance(body, ChatReply) and body.kind == "delta"


def _request_of(body: Any) -> UUID:
    request_id: UUID = getattr(body, "request", body).request_id
    return request_id
