"""Settings of a process that hosts workers."""

from pydantic import Field

from infra.settings import Settings


class HostSettings(Settings):
    """`MILLRACE_METRICS_PORT` serves /metrics and /health; 0 serves nothing. Times are in seconds."""

    metrics_host: str = Field(default="127.0.0.1", alias="MILLRACE_METRICS_HOST")
    metrics_port: int = Field(default=0, ge=0, le=65_535, alias="MILLRACE_METRICS_PORT")
    session_s: float = Field(default=10, ge=1, le=300, alias="MILLRACE_SESSION_S")
    """How long the group waits for a worker that fell silent before it gives its partitions to another one."""
    instance: str = Field(default="", max_length=200, pattern=r"^[A-Za-z0-9._-]*$", alias="MILLRACE_INSTANCE")
    """A name that this process alone has and keeps across restarts, such as the pod of a StatefulSet: its successor
    has the partitions at once, instead of waiting `session_s` for the process that died. Empty: no such name."""
    stalled_after_s: float = Field(default=120, ge=1, alias="MILLRACE_STALLED_AFTER_S")
    """A partition whose first record is neither finished nor retried for so long is a fault: liveness turns red."""
    held_records: int = Field(default=1_000_000, ge=1, alias="MILLRACE_HELD_RECORDS")
    held_mb: int = Field(default=1_024, ge=1, alias="MILLRACE_HELD_MB")
    """Each worker holds at most so many records and MiB in memory, where it would hold more by itself. How far it sees
    past one workspace's flood to what the others sent falls with it."""
