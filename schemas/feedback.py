"""What somebody thinks of an answer."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field

from schemas.event import Event, Timestamp

MAX_COMMENT = 2_000
"""Characters of a comment."""


class Feedback(Event):
    """A rating of the answer to `request_id`. Key of `feedback`: workspace/request id.

    Of several ratings of one answer the last given counts: by `given_at`, and by `event_id` where those are equal.
    """

    schema_name: ClassVar[str] = "feedback"

    event_id: UUID
    request_id: UUID
    rating: Literal["up", "down"]
    comment: str = Field(default="", max_length=MAX_COMMENT)
    by: str = Field(default="", max_length=200)
    """Id of the API key that rated."""
    given_at: Timestamp
