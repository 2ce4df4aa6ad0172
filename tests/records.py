"""Raw records for tests, as the consumer hands them over."""

from dataclasses import dataclass, field


@dataclass
class RawRecord:
    """A fetched record with nothing decoded."""

    topic: str = "raw.events"
    partition: int = 0
    offset: int = 0
    timestamp: int = 1_700_000_000_000
    key: bytes | None = b"acme/src_a/1"
    value: bytes | None = b""
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)
