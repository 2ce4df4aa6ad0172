"""Opens what the inference worker needs, and tells answers to those who read along."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from redis.asyncio import Redis

from infra.kafka.codec import new_envelope
from infra.kafka.producer import Publisher
from infra.kafka.worker import Delivery
from infra.models.opening import open_encoder
from infra.models.settings import EncoderSettings
from infra.objects.store import ObjectStore
from infra.queueing.cancels import Cancels
from infra.queueing.hearing import hearing
from infra.queueing.heartbeat import Heartbeat
from infra.redis.client import open_redis
from infra.redis.kept_answers import KeptAnswers
from infra.redis.load import LoadBoard
from infra.settings import KafkaSettings, ObjectStoreSettings, RedisSettings, load
from infra.telemetry.tracing import inject
from schemas.chat import ChatPrompt
from schemas.ids import derived_event_id
from topics.catalogue import CHAT_REPLIES
from workers.inference.answer import Answerer
from workers.inference.backends.backend import Answer
from workers.inference.backends.choice import open_backends
from workers.inference.deltas import Deltas, Send
from workers.inference.earlier import Earlier
from workers.inference.embed import LateVectors
from workers.inference.listing import Listing
from workers.inference.outcome import Outcome
from workers.inference.reply import delta_of
from workers.inference.settings import EarlierSettings, InferenceSettings
from workers.inference.telling import Telling
from workers.inference.watch import begin

WORKER = "inference"
DELTA_PATIENCE_S = 5.0
"""How long a delta waits for the broker before the same one is sent again."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The answerer, and the publisher of what it says while it writes; without one nobody can read along."""

    answerer: Answerer
    settings: InferenceSettings
    publisher: Publisher | None = None


@asynccontextmanager
async def open_answerer(cancels: Cancels | None = None, redis: Redis | None = None) -> AsyncIterator[Answerer]:
    """Open the backends that the environment and the routing file name. Raises SettingsError."""
    settings = load(InferenceSettings)
    vectors = LateVectors(lambda: open_encoder(load(EncoderSettings)))
    async with AsyncExitStack() as resources:
        resources.push_async_callback(vectors.close)
        remembering = load(EarlierSettings)
        earlier = Earlier(KeptAnswers(redis), remembering) if redis is not None and remembering.on else None
        answerer = Answerer(open_backends(settings), settings, cancels, vectors, earlier)
        resources.push_async_callback(answerer.close)
        watch = await begin(answerer, settings)
        resources.push_async_callback(watch.close)
        yield answerer


async def _redis(resources: AsyncExitStack) -> Redis | None:
    """Open what REDIS_URL names. Without it no answers are kept, and the gateways do not hear of the queue."""
    if not os.environ.get("REDIS_URL"):
        return None
    return await resources.enter_async_context(open_redis(load(RedisSettings)))


@asynccontextmanager
async def open_tools() -> AsyncIterator[Tools]:
    """Open all of it as the environment says. Raises SettingsError."""
    settings = load(InferenceSettings)
    kafka = load(KafkaSettings)
    objects = ObjectStore.open(load(ObjectStoreSettings).url)
    async with AsyncExitStack() as resources:
        cancels = await resources.enter_async_context(hearing(kafka, objects, settings.cancels_remembered_s))
        redis = await _redis(resources)
        answerer = await resources.enter_async_context(open_answerer(cancels, redis))
        publisher = await Publisher.open(kafka.bootstrap, objects, DELTA_PATIENCE_S)
        resources.push_async_callback(publisher.close)
        if redis is not None:
            listing = await Listing.open(lambda: answerer.fleet.members)
            resources.push_async_callback(listing.close)
            board = LoadBoard(redis, "inference")
            heartbeat = await Heartbeat.open(board, lambda: replace(answerer.load(), models=listing.names))
            resources.push_async_callback(heartbeat.close)
        yield Tools(answerer, settings, publisher)


async def told(delivery: Delivery[ChatPrompt], tools: Tools) -> tuple[Outcome, int]:
    """Answer, and publish the words as they are written if somebody reads along.

    Returns what is to be replied at the end and the sequence number of that reply.
    """
    prompt = delivery.body
    if not prompt.request.stream or tools.publisher is None:
        return await tools.answerer.outcome(prompt), 0
    deltas = Deltas(
        _sender(delivery, tools.publisher),
        every_s=tools.settings.delta_every_s,
        characters=tools.settings.delta_characters,
    )
    try:
        outcome = await tools.answerer.outcome(prompt, Telling(deltas.add))
        if isinstance(outcome.result, Answer):
            await deltas.end()
    finally:
        await deltas.drop()
    return outcome, deltas.sequence


def _sender(delivery: Delivery[ChatPrompt], publisher: Publisher) -> Send:
    async def send(sequence: int, text: str) -> None:
        reply = delta_of(delivery.body, sequence, text)
        cause = delivery.envelope.id
        envelope = new_envelope(
            reply,
            # A prompt that is delivered again repeats the ids of its deltas.
            id=derived_event_id(cause, WORKER, CHAT_REPLIES.name, f"delta/{sequence}"),
            source=delivery.envelope.source,
            subject=CHAT_REPLIES.key(reply),
            cause=cause,
            trace=inject(),
        )
        await publisher.publish(CHAT_REPLIES, reply, envelope, delivery.body.request.reply_to.partition)

    return send
