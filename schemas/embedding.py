"""Texts on their way to vectors, for whoever asks the gateway for them. Documents and questions need no such event."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field

from schemas.chat import ReplyTo
from schemas.event import Event, Timestamp


class EmbeddingRequest(Event):
    """Texts to encode with the live index's encoder. Key of `embedding.requests`: workspace/request_id."""

    schema_name: ClassVar[str] = "embedding.request"

    request_id: UUID
    texts: tuple[str, ...] = Field(min_length=1)
    model: str = ""
    """Model that must be the live index's; empty means whichever is."""
    use: Literal["document", "query"] = "document"
    """Side of the encoder: some models prefix questions and documents differently."""
    reply_to: ReplyTo
    accepted_at: Timestamp
    deadline: Timestamp
    """After it the work is skipped and answered with an error."""

    @property
    def weight(self) -> int:
        """Characters of the texts."""
        return sum(map(len, self.texts))
