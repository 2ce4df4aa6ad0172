"""Settings of the connectors worker."""

from typing import Self

from pydantic import Field, model_validator

from infra.settings import Settings

_MIB = 1024 * 1024


class ConnectorsSettings(Settings):
    """How often and how carefully sources are pulled."""

    allow_private_fetch: bool = Field(default=False, alias="MILLRACE_ALLOW_PRIVATE_FETCH")
    """Let sources name addresses inside the own network. Off: whoever may register a source could read it by us."""
    poll_seconds: float = Field(default=5, gt=0, alias="MILLRACE_PULL_POLL_SECONDS")
    """How often to look for sources that are due."""
    at_once: int = Field(default=4, ge=1, le=64, alias="MILLRACE_PULLS_AT_ONCE")
    lease_seconds: int = Field(default=300, ge=30, alias="MILLRACE_PULL_LEASE_SECONDS")
    """How long a claimed source is left to the instance that claimed it; longer than any pull can take,
    or two instances would pull it at once: twice a fetch is room for publishing what it brought."""
    fetch_seconds: float = Field(default=60, gt=0, alias="MILLRACE_FETCH_SECONDS")
    """Whole time of one fetch, redirects and retries included."""
    fetch_bytes: int = Field(default=10 * _MIB, ge=1_024, alias="MILLRACE_FETCH_BYTES")
    """Largest body that is taken, before and after decompression."""

    @model_validator(mode="after")
    def _a_lease_that_outlasts_a_pull(self) -> Self:
        # Raises ValueError.
        if self.lease_seconds < 2 * self.fetch_seconds:
            raise ValueError("MILLRACE_PULL_LEASE_SECONDS is at least twice MILLRACE_FETCH_SECONDS")
        return self
