"""What came in, as it came in."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field

from schemas.event import Event, Timestamp, Version


class RawEvent(Event):
    """One accepted delivery of a source, bytes unchanged.

    `attributes` holds the few transport facts that a connector needs (`x-github-event`, `filename`, `title`): an allow
    list, so that an Authorization header can never reach the log.
    """

    schema_name: ClassVar[str] = "raw.event"

    event_id: UUID
    source: str = Field(min_length=1, max_length=200)
    """Id of the registered source."""
    connector: str = Field(min_length=1, max_length=50)
    """Which mapping reads the body: `github`, `generic`, `files`, `feed`."""
    operation: Literal["put", "delete"] = "put"
    """`delete` removes document `subject` at the user's word; what a webhook says of deletion is in its body."""
    delivery: str = Field(min_length=1, max_length=500)
    """The sender's id of this delivery; a redelivery repeats it."""
    subject: str = Field(default="", max_length=2_000)
    """External id of the document where the door knows it, else empty. Part of the key of `raw.events`."""
    received_at: Timestamp
    content_type: str = ""
    attributes: dict[str, str] = Field(default_factory=dict)
    body: bytes = b""
    after_version: Version | None = None
    """For `delete`: the newest version known when the user asked; the deletion takes the next one."""
    contents: bool = False
    """For `delete`: what stands in the document goes with it."""

    @property
    def weight(self) -> int:
        """Rough size in bytes."""
        return len(self.body)
