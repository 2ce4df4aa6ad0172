"""Opens what the retriever needs."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from redis.asyncio import Redis

from infra.models.opening import open_encoder
from infra.models.settings import EncoderSettings
from infra.objects.store import ObjectStore
from infra.postgres.pool import open_pool
from infra.qdrant.client import open_client
from infra.queueing.cancels import Cancels
from infra.queueing.hearing import hearing
from infra.queueing.heartbeat import Heartbeat
from infra.queueing.slots import Meters, Slots
from infra.redis.client import open_redis
from infra.redis.load import LoadBoard
from infra.redis.query_vectors import QueryVectors
from infra.settings import KafkaSettings, ObjectStoreSettings, PostgresSettings, QdrantSettings, RedisSettings, load
from infra.telemetry.metrics import Metric
from workers.retriever.budget import Budget
from workers.retriever.embed import QuestionEmbedder
from workers.retriever.live import Encoders, LiveIndex
from workers.retriever.retrieve import Retriever
from workers.retriever.settings import ENCODED_AT_ONCE, RetrieverSettings
from workers.retriever.vectors import Vectoriser

SEARCHES, SLICES = (
    Meters(
        Metric.RETRIEVER_WAITED_SECONDS,
        Metric.RETRIEVER_QUEUE_DEPTH,
        Metric.RETRIEVER_ESTIMATED_WAIT_SECONDS,
        (work,),
    )
    for work in ("search", "embedding")
)


class Tools:
    """A retriever with the turns at it, the budget of prompts made of what it finds, the encoder by itself, and who has
    gone.
    """

    def __init__(
        self, retriever: Retriever, budget: Budget, vectoriser: Vectoriser, searches: Slots, cancels: Cancels
    ) -> None:
        self.retriever = retriever
        self.searches = searches
        self.cancels = cancels
        self.budget = budget
        self.vectoriser = vectoriser


@asynccontextmanager
async def open_tools() -> AsyncIterator[Tools]:
    """Yield the tools as the environment says. Raises SettingsError, EncoderError, Transient."""
    settings = load(RetrieverSettings)
    kafka, objects = load(KafkaSettings), ObjectStore.open(load(ObjectStoreSettings).url)
    wanted = load(EncoderSettings)
    further = [wanted.model_copy(update={"encoder": name}) for name in settings.further_encoders]
    async with AsyncExitStack() as resources:
        encoders = [await resources.enter_async_context(open_encoder(each)) for each in (wanted, *further)]
        for encoder in encoders:
            # Else the first question after a start takes a second longer, and weights that are no good fail it.
            await encoder.prepare()
        pool = await resources.enter_async_context(open_pool(load(PostgresSettings)))
        client = await resources.enter_async_context(open_client(load(QdrantSettings)))
        redis = await _redis(resources)
        live, encoder_of = LiveIndex(pool, settings.index_ttl_s).current, Encoders(encoders).of
        retriever = Retriever(
            client,
            live,
            encoder_of,
            QuestionEmbedder(QueryVectors(redis, settings.query_vector_ttl_s) if redis is not None else None),
            settings,
        )
        searches = Slots(settings.concurrency, SEARCHES, settings.weights)
        if redis is not None:
            heartbeat = await Heartbeat.open(LoadBoard(redis, "retriever"), searches.load)
            resources.push_async_callback(heartbeat.close)
        budget = Budget(settings.prompt_tokens, settings.characters_per_token, settings.prompt_shares)
        encoding = Slots(ENCODED_AT_ONCE, SLICES, settings.weights)
        cancels = await resources.enter_async_context(hearing(kafka, objects, settings.cancels_remembered_s))
        yield Tools(retriever, budget, Vectoriser(live, encoder_of, encoding), searches, cancels)


async def _redis(resources: AsyncExitStack) -> Redis | None:
    """Open what REDIS_URL names. Without it vectors are not kept, and the gateways do not hear of the queue."""
    if not os.environ.get("REDIS_URL"):
        return None
    return await resources.enter_async_context(open_redis(load(RedisSettings)))
