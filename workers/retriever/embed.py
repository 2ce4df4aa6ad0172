"""Embeds questions, by the cache where there is one."""

from time import monotonic

from infra.errors import Permanent, Transient
from infra.models.encoder import Encoder, FloatArray
from infra.redis.query_vectors import QueryVectors
from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, count

AWAY_S = 10.0
"""Seconds for which a cache that failed is left alone: a question must not wait for each of its time-outs."""

log = logger(__name__)


class QuestionEmbedder:
    """Encodes questions. The cache saves time when it works and costs nothing else when it does not."""

    def __init__(self, cache: QueryVectors | None = None) -> None:
        self._cache = cache
        self._away_until = 0.0
        self._said = False

    async def embed(self, encoder: Encoder, workspace: str, text: str) -> FloatArray:
        """Return the unit vector [encoder.dimension] of `text`. Raises what the encoder raises."""
        kept = await self._kept(encoder, workspace, text)
        if kept is not None:
            return kept
        vector = await encoder.encode_query(text)
        await self._keep(encoder, workspace, text, vector)
        return vector

    async def _kept(self, encoder: Encoder, workspace: str, text: str) -> FloatArray | None:
        if self._cache is None:
            return None
        if monotonic() < self._away_until:
            count(Metric.QUERY_VECTORS_TOTAL, "unavailable")
            return None
        try:
            kept = await self._cache.get(workspace, encoder.model_id, text, encoder.dimension)
        except (Transient, Permanent) as error:
            self._leave(error)
            return None
        if self._said:
            log.info("the query vector cache is back")
            self._said = False
        count(Metric.QUERY_VECTORS_TOTAL, "miss" if kept is None else "hit")
        return kept

    async def _keep(self, encoder: Encoder, workspace: str, text: str, vector: FloatArray) -> None:
        if self._cache is None or monotonic() < self._away_until:
            return
        try:
            await self._cache.put(workspace, encoder.model_id, text, vector)
        except (Transient, Permanent) as error:
            self._leave(error)

    def _leave(self, error: Transient | Permanent) -> None:
        count(Metric.QUERY_VECTORS_TOTAL, "unavailable")
        self._away_until = monotonic() + AWAY_S
        if not self._said:
            # Once per outage: a line per question would bury what else happens during it.
            log.warning("going on without the query vector cache", cause=error.detail)
            self._said = True
