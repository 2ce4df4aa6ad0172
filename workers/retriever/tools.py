"""Opens what the retriever needs."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from infra.models.opening import open_encoder
from infra.models.settings import EncoderSettings
from infra.postgres.pool import open_pool
from infra.qdrant.client import open_client
from infra.redis.client import open_redis
from infra.redis.query_vectors import QueryVectors
from infra.settings import PostgresSettings, QdrantSettings, RedisSettings, load
from workers.retriever.budget import Budget
from workers.retriever.embed import QuestionEmbedder
from workers.retriever.live import Encoders, LiveIndex
from workers.retriever.retrieve import Retriever
from workers.retriever.settings import RetrieverSettings
from workers.retriever.vectors import Vectoriser


class Tools:
    """A retriever, the budget of the prompts that are made of what it finds, and the encoder by itself."""

    def __init__(self, retriever: Retriever, budget: Budget, vectoriser: Vectoriser) -> None:
        self.retriever = retriever
        self.budget = budget
        self.vectoriser = vectoriser


@asynccontextmanager
async def open_tools() -> AsyncIterator[Tools]:
    """Yield the tools as the environment says. Raises SettingsError, EncoderError, Transient."""
    settings = load(RetrieverSettings)
    wanted = load(EncoderSettings)
    further = [wanted.model_copy(update={"encoder": name}) for name in settings.further_encoders]
    async with AsyncExitStack() as resources:
        encoders = [await resources.enter_async_context(open_encoder(each)) for each in (wanted, *further)]
        pool = await resources.enter_async_context(open_pool(load(PostgresSettings)))
        client = await resources.enter_async_context(open_client(load(QdrantSettings)))
        live, encoder_of = LiveIndex(pool, settings.index_ttl_s).current, Encoders(encoders).of
        retriever = Retriever(
            client,
            live,
            encoder_of,
            QuestionEmbedder(await _cache(resources, settings)),
            settings,
        )
        budget = Budget(settings.prompt_tokens, settings.characters_per_token, settings.prompt_shares)
        yield Tools(retriever, budget, Vectoriser(live, encoder_of))


async def _cache(resources: AsyncExitStack, settings: RetrieverSettings) -> QueryVectors | None:
    """Open the cache where REDIS_URL names one: a retriever works without."""
    if not os.environ.get("REDIS_URL"):
        return None
    client = await resources.enter_async_context(open_redis(load(RedisSettings)))
    return QueryVectors(client, settings.query_vector_ttl_s)
