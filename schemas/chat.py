"""A question on its way to an answer."""

import re
from collections.abc import Iterator
from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from schemas.event import Event, Timestamp, Value, Version
from schemas.filters import SearchFilters

Role = Literal["system", "user", "assistant", "tool"]
Intent = Literal["code", "reasoning", "general", "creative"]
"""What kind of question it is, for the choice of a model."""
LONGEST_PATIENCE_S = 600
"""Most seconds from a question's acceptance to its deadline: what is kept for a question under way is kept longer."""
MARKER = re.compile(r"\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
"""How an answer cites its passages: [n], [n, m] or [n; m]."""


def markers(text: str) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Yield start, end (code points, exclusive) and the passage numbers of each marker in `text`."""
    for found in MARKER.finditer(text):
        yield found.start(), found.end(), tuple(int(digits) for digits in re.findall(r"\d+", found[1]))


class FunctionCall(Value):
    """What a model wants called. Nothing here ever calls it: that is the asking application's to do."""

    name: str
    arguments: str
    """As the model wrote them: meant to be JSON, and not checked."""


class ToolCall(Value):
    """A call of one of the request's tools, in OpenAI's words."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatMessage(Value):
    """One turn of a conversation."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """Of the assistant: what it wanted called, maybe without a word of its own."""
    tool_call_id: str = ""
    """Of a tool: the call that it answers."""


class ReplyTo(Value):
    """Where a gateway waits: a partition of `chat.replies` that it reads by manual assignment."""

    partition: int = Field(ge=0)
    gateway: str
    """Id of the waiting gateway process; a reply with another id is dropped and counted."""


class Generation(Value):
    """Sampling limits, passed to backends that sample."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1)
    stop: tuple[str, ...] = ()
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = None
    response_format: dict[str, Any] | None = None
    """The form of the answer in OpenAI's words (`json_object`, `json_schema`), for servers that can keep to it."""
    tools: tuple[dict[str, Any], ...] = ()
    """Functions that the model may ask to have called, in OpenAI's words; passed on and never acted on."""
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None

    @property
    def calls_tools(self) -> bool:
        """Whether the answer may be a call of a tool."""
        return bool(self.tools) and self.tool_choice != "none"


class ChatRequest(Event):
    """A question as accepted by the gateway. Key of `chat.requests`: workspace/conversation_id."""

    schema_name: ClassVar[str] = "chat.request"

    request_id: UUID
    conversation_id: UUID
    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    model: str = ""
    """Empty means the default backend."""
    retrieve: bool = True
    top_k: int = Field(default=5, ge=1, le=100)
    filters: SearchFilters = SearchFilters()
    group_by: Literal["", "document"] = ""
    """`document`: `top_k` counts documents, of each of which `group_size` passages are given at the most."""
    group_size: int = Field(default=1, ge=1, le=100)
    generation: Generation = Generation()
    purpose: Literal["chat", "query", "search"] = "chat"
    """`search` ends at the retriever with the passages; `query` (RAG) leaves no conversation behind."""
    reply_to: ReplyTo
    accepted_at: Timestamp
    deadline: Timestamp
    """After it the work is skipped and answered with an error."""
    stream: bool = False
    """Whether somebody reads along: deltas are published while the answer is written, not only its end."""
    idempotency_key: str = ""
    """The sender's own name for this request; its `request_id` is made of it. Empty where the sender gave none."""
    intent: Intent | None = None
    """What the asker says it is; None lets the classifier tell. A named `model` wins over it."""
    cached: bool = True
    """Whether an earlier answer to nearly the same question may stand in while no model answers."""
    min_support: float | None = Field(default=None, ge=0, le=1)
    """Least support that an answer needs, of a backend that estimates it; below it the backend abstains. None leaves it
    to the backend."""
    replay_of: UUID | None = None
    """The request that this one repeats to compare the answers: it is answered anew, from no cache, and not kept."""


class Sentence(Value):
    """A sentence of a passage: code point offsets into the document's text, and its cosine with the question."""

    start: int = Field(ge=0)
    end: int = Field(gt=0)
    cosine: float


class Passage(Value):
    """A retrieved chunk: `document.text[start:end] == text`."""

    number: int = Field(ge=1)
    """1-based, as cited in the answer."""
    document_id: UUID
    version: Version
    ordinal: int
    start: int
    end: int
    text: str
    title: str = ""
    heading: str = ""
    url: str = ""
    source: str = ""
    connector: str = ""
    kind: str = ""
    authors: tuple[str, ...] = ()
    updated_at: Timestamp | None = None
    score: float
    """Fused score, 0 to about 1.1."""
    cosine: float
    """Cosine of question and passage, 0 where only the sparse list held it."""
    sentences: tuple[Sentence, ...] = ()


class PromptParts(Value):
    """How a prompt's budget was spent, in estimated tokens, and what had no room in it."""

    budget: int
    system: int = 0
    question: int = 0
    functions: int = 0
    """Declarations of functions, and for this question their calls and results."""
    memory: int = 0
    retrieved: int = 0
    history: int = 0
    passages: int = 0
    """Passages in the messages, the best ones."""
    dropped_passages: int = 0
    dropped_messages: int = 0
    """The oldest messages of the conversation, left out."""
    cut_question: bool = False
    """The question, or what was said right before it, was too long and lost its middle."""
    cut_results: int = 0
    """Results of functions that were too long and lost their middle."""


class ChatPrompt(Event):
    """A request with what was retrieved for it: replayable against another model. Key: workspace/conversation_id."""

    schema_name: ClassVar[str] = "chat.prompt"

    request: ChatRequest
    question: str
    index_id: str = ""
    passages: tuple[Passage, ...] = ()
    term_weights: dict[str, float] = Field(default_factory=dict)
    """Inverse document frequency of the question's stemmed terms, for the extractive answerer."""
    messages: tuple[ChatMessage, ...]
    """What a language model is to be sent: policy, history, and last the question below its fenced sources."""
    question_vector: str = ""
    """The question's unit vector as base64 of little-endian half floats; empty where nothing was searched."""
    encoder: str = ""
    """Model of that vector."""
    request_at: str = ""
    """Where the request stands on the log, `topic:partition:offset`; empty in prompts from before."""
    parts: PromptParts | None = None


class Citation(Value):
    """`document.text[start:end] == quote`, at version `version`."""

    number: int
    document_id: UUID
    version: Version
    start: int
    end: int
    quote: str
    title: str = ""
    url: str = ""
    source: str = ""


class Usage(Value):
    """Tokens as counted by the backend; 0 where it does not count."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Embeddings(Value):
    """Vectors of texts, in the order of the texts."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="base64", val_json_bytes="base64")

    model: str
    """Names the encoder and what else decides its vectors."""
    dimension: int = Field(ge=1)
    vectors: bytes
    """Little-endian float32 [texts, dimension], unit rows."""


class ReplyError(Value):
    """A failure in the client's terms: a stable code and a sentence."""

    code: str
    detail: str


WORKER_FAILED = ReplyError(code="worker_failed", detail="a worker failed at this request, which is a dead letter now")
"""What whoever waits for a request hears when no worker can ever handle it."""


class ChatReply(Event):
    """A part of an answer. Key of `chat.replies`: the request id; the partition is the one named in the request."""

    schema_name: ClassVar[str] = "chat.reply"

    request_id: UUID
    conversation_id: UUID
    gateway: str
    sequence: int = Field(ge=0)
    """0, 1, 2, … within the request; `final` and `error` are last."""
    kind: Literal["delta", "final", "error"]
    text: str = ""
    """For `delta` the new text, for `final` the whole answer."""
    tool_calls: tuple[ToolCall, ...] = ()
    """Of `final`: what the model wants called; the text is then often empty."""
    citations: tuple[Citation, ...] = ()
    passages: tuple[Passage, ...] = ()
    abstained: bool = False
    finish_reason: str = ""
    model: str = ""
    served_by: str = ""
    """Backend that produced the text: `openai`, `second`, one of routing.yaml, `extractive`; `cache` for an earlier
    answer, `none` for the list of what was found."""
    degraded: bool = False
    """Somebody other than the backend asked for has answered, or the answer broke off."""
    shortened: bool = False
    """The question, or what a function returned for it, was too long for the prompt and lost its middle."""
    intent: Intent | None = None
    """What kind of question it was taken for; None where that was not asked."""
    support: float | None = None
    """Topical support of the answer by its sources, 0 to 1; None where the backend does not estimate it."""
    embeddings: Embeddings | None = None
    """Of the reply to an embedding request, which has no text."""
    usage: Usage = Usage()
    error: ReplyError | None = None

    @property
    def weight(self) -> int:
        """Bytes of the vectors; all else is small."""
        return len(self.embeddings.vectors) if self.embeddings else 0
