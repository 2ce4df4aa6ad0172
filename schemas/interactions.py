"""A finished question and answer, and what it was made of."""

from typing import ClassVar
from uuid import UUID

from schemas.chat import (
    ChatMessage,
    ChatRequest,
    Citation,
    Generation,
    Intent,
    PromptParts,
    ReplyError,
    ToolCall,
    Usage,
)
from schemas.event import Event, Timestamp, Value, Version
from schemas.filters import SearchFilters


class UsedChunk(Value):
    """A chunk that was retrieved for an answer: `document.text[start:end]` at version `version`."""

    number: int
    chunk_id: UUID
    """Id of its vector point."""
    document_id: UUID
    version: Version
    ordinal: int
    start: int
    end: int
    score: float


class Parameters(Value):
    """What a request asked for, beside its question."""

    model: str = ""
    retrieve: bool = True
    top_k: int = 5
    filters: SearchFilters = SearchFilters()
    generation: Generation = Generation()
    min_support: float | None = None

    @classmethod
    def of(cls, request: ChatRequest) -> "Parameters":
        """Return what `request` asked for."""
        return cls(**{name: getattr(request, name) for name in cls.model_fields})


class Interaction(Event):
    """A finished question and answer, for history and learning. Key: workspace/conversation_id."""

    schema_name: ClassVar[str] = "interaction"

    request_id: UUID
    conversation_id: UUID
    question: ChatMessage
    answer: str
    tool_calls: tuple[ToolCall, ...] = ()
    """What the model wanted called; such an exchange goes on in another request."""
    citations: tuple[Citation, ...] = ()
    passages: tuple[UUID, ...] = ()
    """Documents whose passages were in the prompt, best first."""
    abstained: bool = False
    index_id: str = ""
    model: str = ""
    served_by: str = ""
    degraded: bool = False
    intent: Intent | None = None
    usage: Usage = Usage()
    error: ReplyError | None = None
    asked_at: Timestamp
    answered_at: Timestamp
    request_at: str = ""
    prompt_at: str = ""
    """Where request and prompt stand on the log, `topic:partition:offset`; empty in interactions from before."""
    chunks: tuple[UsedChunk, ...] = ()
    parts: PromptParts | None = None
    parameters: Parameters | None = None
    adapter: str = ""
    """Adapter that wrote the answer, by its name; empty where the backend's own model did."""
