"""Somebody no longer wants an answer."""

from typing import ClassVar
from uuid import UUID

from schemas.event import Event


class ChatCancel(Event):
    """The asker of `request_id` has gone or said stop. Key of `chat.cancels`: the request id.

    A hint, not a promise: an answer that is ready already is published all the same.
    """

    schema_name: ClassVar[str] = "chat.cancel"

    request_id: UUID
    reason: str = ""
    """`disconnected`, `deleted`; for people and metrics, it changes nothing."""
