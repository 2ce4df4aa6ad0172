"""Settings of the vector door, read from the environment when its process starts."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from infra.settings import Settings

_MIB = 1024 * 1024


class DoorSettings(Settings):
    """Where the door listens, where it stores, who may come in."""

    host: str = Field(default="127.0.0.1", alias="MILLRACE_DOOR_HOST")
    port: int = Field(default=6333, ge=0, le=65_535, alias="MILLRACE_DOOR_PORT")
    root: Path = Field(alias="MILLRACE_DOOR_ROOT")
    """Folder of all collections; one door at a time owns it."""
    api_key: SecretStr = Field(alias="QDRANT_API_KEY")
    max_body: int = Field(default=32 * _MIB, ge=1024, alias="MILLRACE_DOOR_MAX_BODY")
    """Largest request body in bytes; 32 MiB is Qdrant's own default."""
    idle_s: float = Field(default=10.0, gt=0, alias="MILLRACE_DOOR_IDLE_S")
    """Seconds without a request after which the storage of deleted points is dropped."""

    @field_validator("api_key")
    @classmethod
    def _not_empty(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value():
            raise ValueError("must not be empty: the door has no open mode")
        return value
