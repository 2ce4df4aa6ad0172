"""Settings of a process that hosts workers."""

from pydantic import Field

from infra.settings import Settings


class HostSettings(Settings):
    """`MILLRACE_METRICS_PORT` serves /metrics and /health; 0 serves nothing."""

    metrics_host: str = Field(default="127.0.0.1", alias="MILLRACE_METRICS_HOST")
    metrics_port: int = Field(default=0, ge=0, le=65_535, alias="MILLRACE_METRICS_PORT")
