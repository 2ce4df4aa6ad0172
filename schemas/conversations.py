"""What somebody wants done with a conversation."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field

from schemas.event import Event, Timestamp

TITLE_LIMIT = 200
"""Characters of a title that a user gives."""


class ConversationChange(Event):
    """A rename, a move into the archive or out of it, or the deletion. Key: workspace/conversation_id.

    Its place in its partition is its version: of two changes of one conversation the later wins, and a deletion is
    followed by nothing.
    """

    schema_name: ClassVar[str] = "conversation.change"

    change_id: UUID
    conversation_id: UUID
    operation: Literal["edit", "delete"]
    title: str | None = Field(default=None, min_length=1, max_length=TITLE_LIMIT)
    """None leaves it."""
    archived: bool | None = None
    """None leaves it."""
    reason: Literal["asked", "idle"] = "asked"
    """`asked`: somebody wants it. `idle`: nothing was said for so long; a user's later word counts for more."""
    by: str = ""
    """Id of the key that asked for it; empty for our own doing."""
    at: Timestamp
    """For `asked` the moment, for `idle` when something last happened: whatever is said later brings it back."""
