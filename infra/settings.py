"""Addresses and secrets of the outside systems, read from the environment only at the edge of a process.

Each class reads its own variables, is immutable, and fails at start with the variable's name. Nothing below the edge
reads the environment: a process builds what it needs here and passes it down.
"""

import os
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Loaded = TypeVar("Loaded", bound="Settings")

INSECURE = frozenset({"", "millrace", "password", "postgres", "neo4j", "secret", "changeme", "admin"})
"""Secrets that a production start refuses."""


class SettingsError(Exception):
    """A setting is missing or wrong; the message names the environment variable and what it should hold."""


class Settings(BaseSettings):
    """Base of all settings: frozen, from the environment alone."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    def secret_values(self) -> dict[str, str]:
        """Return the secrets held here by the name of their variable, for the check of a production start."""
        return {}


class ProcessSettings(Settings):
    """What every process needs to know of itself."""

    mode: Literal["development", "production"] = Field(default="development", alias="MILLRACE_MODE")
    home: Path = Field(default=Path(".millrace"), alias="MILLRACE_HOME")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", alias="MILLRACE_LOG_LEVEL")
    instance: str = Field(default="", alias="MILLRACE_INSTANCE")
    """Name of this process among its like; empty means host name and process id."""


class KafkaSettings(Settings):
    """`KAFKA_BOOTSTRAP_SERVERS`: host:port, comma-separated."""

    bootstrap: Annotated[tuple[str, ...], NoDecode] = Field(alias="KAFKA_BOOTSTRAP_SERVERS")
    replication_factor: int = Field(default=1, ge=1, alias="KAFKA_REPLICATION_FACTOR")
    min_insync_replicas: int = Field(default=1, ge=1, alias="KAFKA_MIN_INSYNC_REPLICAS")

    @field_validator("bootstrap", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class PostgresSettings(Settings):
    """`POSTGRES_DSN`: postgresql://user:password@host:port/database."""

    dsn: SecretStr = Field(alias="POSTGRES_DSN")
    pool_size: int = Field(default=8, ge=1, le=200, alias="POSTGRES_POOL_SIZE")

    def secret_values(self) -> dict[str, str]:
        """Return the password inside the DSN."""
        return {"POSTGRES_DSN": urlsplit(self.dsn.get_secret_value()).password or ""}


class Neo4jSettings(Settings):
    """`NEO4J_URI`: bolt://host:port or neo4j://host:port."""

    uri: str = Field(alias="NEO4J_URI")
    user: str = Field(default="neo4j", alias="NEO4J_USER")
    password: SecretStr = Field(alias="NEO4J_PASSWORD")
    database: str = Field(default="neo4j", alias="NEO4J_DATABASE")

    def secret_values(self) -> dict[str, str]:
        """Return the password."""
        return {"NEO4J_PASSWORD": self.password.get_secret_value()}


class RedisSettings(Settings):
    """`REDIS_URL`: redis://[:password@]host:port/0. Redis or Valkey."""

    url: SecretStr = Field(alias="REDIS_URL")

    def secret_values(self) -> dict[str, str]:
        """Return the password, if there is one: Redis may have none where nobody else can reach it."""
        password = urlsplit(self.url.get_secret_value()).password
        return {} if password is None else {"REDIS_URL": password}


class QdrantSettings(Settings):
    """`QDRANT_URL`: http://host:port of a Qdrant server or of the local vector door."""

    url: str = Field(alias="QDRANT_URL")
    api_key: SecretStr | None = Field(default=None, alias="QDRANT_API_KEY")
    timeout_s: float = Field(default=30, gt=0, alias="QDRANT_TIMEOUT_S")


class ObjectStoreSettings(Settings):
    """`OBJECT_STORE_URL`: file:///folder, s3://bucket/prefix; credentials by the provider's usual variables."""

    url: str = Field(alias="OBJECT_STORE_URL")


class SecretsSettings(Settings):
    """`MILLRACE_SECRET_KEY`: 32 url-safe base64 bytes that encrypt the sources' webhook secrets at rest (Fernet)."""

    secret_key: SecretStr = Field(alias="MILLRACE_SECRET_KEY")

    def secret_values(self) -> dict[str, str]:
        """Return the key."""
        return {"MILLRACE_SECRET_KEY": self.secret_key.get_secret_value()}


def load(settings: type[Loaded]) -> Loaded:
    """Read `settings` from the environment. Raises SettingsError naming each missing or wrong variable.

    With MILLRACE_MODE=production a secret that everybody knows is wrong too.
    """
    try:
        loaded = settings()
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise SettingsError(f"bad settings: {faults}") from error
    if os.environ.get("MILLRACE_MODE") == "production":
        weak = [name for name, secret in loaded.secret_values().items() if secret in INSECURE]
        if weak:
            raise SettingsError(f"bad settings: {', '.join(weak)}: MILLRACE_MODE=production refuses a default secret")
    return loaded
