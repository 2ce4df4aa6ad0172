"""Settings of the gateway, read from the environment at its start."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from infra.redis.rates import Rate
from infra.settings import (
    KafkaSettings,
    Neo4jSettings,
    ObjectStoreSettings,
    PostgresSettings,
    ProcessSettings,
    QdrantSettings,
    RedisSettings,
    SecretsSettings,
    Settings,
    load,
)
from schemas.chat import LONGEST_PATIENCE_S

MIB = 1024 * 1024
Purpose = Literal["chat", "query", "search"]


class GatewaySettings(Settings):
    """Addresses, limits and patience of the HTTP door."""

    host: str = Field(default="127.0.0.1", alias="MILLRACE_GATEWAY_HOST")
    port: int = Field(default=8080, ge=0, le=65_535, alias="MILLRACE_GATEWAY_PORT")
    max_upload_bytes: int = Field(default=32 * MIB, ge=1024, alias="MILLRACE_MAX_BODY_BYTES")
    """Largest body of POST /v1/documents."""
    max_hook_bytes: int = Field(default=5 * MIB, ge=1024, alias="MILLRACE_MAX_HOOK_BYTES")
    max_request_bytes: int = Field(default=8 * MIB, ge=1024, alias="MILLRACE_MAX_REQUEST_BYTES")
    """Largest body of every other request."""
    body_timeout_s: float = Field(default=60, gt=0, alias="MILLRACE_BODY_TIMEOUT_S")
    """A client that has not sent its whole body by then is refused with 408."""
    publish_timeout_s: float = Field(default=4, gt=0, le=5, alias="MILLRACE_PUBLISH_TIMEOUT_S")
    """How long a request waits for the broker before it is answered 503."""
    answer_timeout_s: float = Field(default=60, gt=0, le=LONGEST_PATIENCE_S, alias="MILLRACE_ANSWER_TIMEOUT_S")
    search_timeout_s: float = Field(default=10, gt=0, le=LONGEST_PATIENCE_S, alias="MILLRACE_SEARCH_TIMEOUT_S")
    keepalive_s: float = Field(default=10, gt=0, le=60, alias="MILLRACE_STREAM_KEEPALIVE_S")
    """A stream on which nothing comes for so long carries a comment, so that no proxy takes it for dead."""
    return_grace_s: float = Field(default=5, ge=0, le=600, alias="MILLRACE_RETURN_GRACE_S")
    """How long an answer is gone on with, for its client to come back to, after the client has hung up."""
    key_cache_s: float = Field(default=5, ge=0, le=60, alias="MILLRACE_KEY_CACHE_S")
    """For how long a verified key is believed: a revocation takes effect within these seconds."""
    source_cache_s: float = Field(default=5, ge=0, le=60, alias="MILLRACE_SOURCE_CACHE_S")
    event_wait_s: float = Field(default=1, ge=0, le=10, alias="MILLRACE_EVENT_WAIT_S")
    """How long GET /v1/events/{id} waits for the ledger to hear of an event just accepted."""
    history_turns: int = Field(default=10, ge=0, le=100, alias="MILLRACE_HISTORY_TURNS")
    """Questions with their answers of a conversation that are sent along with the next question. Which of them a model
    reads is decided by the retriever's budget of tokens."""
    history_characters: int = Field(default=12_000, ge=0, le=400_000, alias="MILLRACE_HISTORY_CHARACTERS")
    """Their length together: about what the default budget could hold if nothing else stood in the prompt."""
    change_wait_s: float = Field(default=2, ge=0, le=10, alias="MILLRACE_CHANGE_WAIT_S")
    """How long a change of a conversation waits for the archivist to have applied it."""
    events_per_s: int = Field(default=500, ge=1, alias="MILLRACE_EVENTS_PER_S")
    """Events that a workspace may put on the log per second in the long run, over all gateways; then 429."""
    events_burst: int = Field(default=5_000, ge=1, alias="MILLRACE_EVENTS_BURST")
    """Events that it may put there at once after a rest; at least those of a second."""
    stop_timeout_s: int = Field(default=20, ge=1, le=300, alias="MILLRACE_STOP_TIMEOUT_S")
    """How long a stop waits for requests in flight."""

    @model_validator(mode="after")
    def _a_rate_that_can_be_reached(self) -> Self:
        # Raises ValueError.
        Rate(self.events_per_s, self.events_burst)
        return self

    def patience(self, purpose: Purpose) -> timedelta:
        """How long an answer is waited for."""
        return timedelta(seconds=self.search_timeout_s if purpose == "search" else self.answer_timeout_s)

    @property
    def event_rate(self) -> Rate:
        """What a workspace may put on the log."""
        return Rate(self.events_per_s, self.events_burst)


@dataclass(frozen=True, slots=True)
class Environment:
    """All that a gateway process reads from its environment."""

    process: ProcessSettings
    gateway: GatewaySettings
    kafka: KafkaSettings
    postgres: PostgresSettings
    objects: ObjectStoreSettings
    secrets: SecretsSettings
    neo4j: Neo4jSettings
    qdrant: QdrantSettings
    redis: RedisSettings

    @classmethod
    def read(cls) -> Self:
        """Read and check everything. Raises SettingsError naming the variable."""
        return cls(
            process=load(ProcessSettings),
            gateway=load(GatewaySettings),
            kafka=load(KafkaSettings),
            postgres=load(PostgresSettings),
            objects=load(ObjectStoreSettings),
            secrets=load(SecretsSettings),
            neo4j=load(Neo4jSettings),
            qdrant=load(QdrantSettings),
            redis=load(RedisSettings),
        )
