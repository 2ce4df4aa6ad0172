"""OpenAI's chat completions, answered from the sources."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import Response

from gateway.asking import MAX_CONTENT, question, routed
from gateway.auth import NEEDS_KEY, Caller
from gateway.calling import MAX_TOOLS, Tooled, check_calls
from gateway.cancelling import letting_go
from gateway.completing import DEFAULT_MODEL, Chunks, Completion, completion_of
from gateway.connections import Connections, Held
from gateway.documenting import EVENT_STREAM, problems
from gateway.exchange import unless_gone
from gateway.json_values import JsonSchema, MostTokens, Seed
from gateway.opening import opened
from gateway.plain import Way
from gateway.problems import COMPLETIONS_PATH, invalid_field
from gateway.repeating import IdempotencyKey, begin_keyed
from gateway.routes.search import ANSWERING, ASKING, Filters, MinSupport
from schemas.chat import ChatMessage, ChatRequest, Generation, Intent, ToolCall

router = APIRouter(tags=["chat"], dependencies=[NEEDS_KEY])

MAX_MESSAGES = 200


class TextPart(BaseModel):
    """A part of a message; only text can be read."""

    type: Literal["text"]
    text: str = Field(max_length=MAX_CONTENT)


class CompletionMessage(BaseModel):
    """A message of OpenAI's shape. `developer` is today's name of `system`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[str, Field(max_length=MAX_CONTENT)] | list[TextPart] | None = None
    tool_calls: list[ToolCall] | None = Field(default=None, max_length=MAX_TOOLS)
    """Of the assistant."""
    tool_call_id: str | None = Field(default=None, max_length=200)
    """Of a tool."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise ValueError("only the assistant's message with tool_calls may have no content")
        if self.tool_calls and self.role != "assistant":
            raise ValueError("only the assistant's message has tool_calls")
        if (self.role == "tool") != (self.tool_call_id is not None):
            raise ValueError("tool_call_id belongs to each message of role tool, and to no other")
        return self

    def plain(self) -> ChatMessage:
        """Return the message as the log carries it."""
        content = self.content or ""
        return ChatMessage(
            role="system" if self.role == "developer" else self.role,
            content=content if isinstance(content, str) else "\n".join(part.text for part in content),
            tool_calls=tuple(self.tool_calls or ()),
            tool_call_id=self.tool_call_id or "",
        )


class StreamOptions(BaseModel):
    """How a stream is told."""

    include_usage: bool = False
    """A last chunk with the usage and no choices."""


class ResponseFormat(BaseModel):
    """The form that the answer is to have; whether it can is the backend's to say."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def plain(self) -> dict[str, Any] | None:
        """Return the form as the log carries it; text is no form."""
        return None if self.type == "text" else self.model_dump(exclude_none=True)


class Retrieval(BaseModel):
    """What OpenAI's request has no room for: which sources are read."""

    model_config = ConfigDict(extra="forbid")

    retrieve: bool = True
    top_k: int = Field(default=5, ge=1, le=100)
    filters: Filters = Field(default_factory=Filters)
    conversation_id: UUID | None = None
    """Under which the exchange is kept; the messages are those of the request."""
    intent: Intent | None = None
    """What kind of question it is, where the sender knows better than the classifier. A named `model` wins."""
    cached: bool = True
    """Whether an earlier answer to nearly the same question may stand in while no model answers."""
    min_support: MinSupport = None


class CompletionRequest(Tooled):
    """OpenAI's chat completion request; unknown fields are ignored, as their clients expect.

    https://platform.openai.com/docs/api-reference/chat/create
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": DEFAULT_MODEL, "messages": [{"role": "user", "content": "Who fixed the timeout?"}]}]
        }
    )

    model: str = Field(default=DEFAULT_MODEL, max_length=200)
    messages: list[CompletionMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = 1
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: MostTokens | None = None
    max_completion_tokens: MostTokens | None = None
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: Seed | None = None
    stop: str | list[str] | None = None
    response_format: ResponseFormat | None = None
    store: bool | None = None
    """False leaves no conversation behind, and no answer that others could be given. Otherwise it is kept: that is what
    conversations are made of here, whatever OpenAI's default."""
    millrace: Retrieval = Field(default_factory=Retrieval)

    def plain(self) -> list[ChatMessage]:
        """Return the messages. Raises Problem if the last one asks nothing, or answers no call of a tool."""
        messages = [message.plain() for message in self.messages]
        check_calls(messages)
        last = len(messages) - 1
        asked = max((at for at, message in enumerate(messages) if message.role == "user"), default=last)
        if asked != last and messages[-1].role != "tool":
            raise invalid_field(f"/messages/{last}", "the last message is the user's, or of role tool")
        if messages[asked].role != "user" or not 0 < len(messages[asked].content.strip()) <= MAX_CONTENT:
            raise invalid_field(f"/messages/{asked}", f"the user asks something, in 1 to {MAX_CONTENT} characters")
        return messages

    def generation(self) -> Generation:
        """Return the sampling limits, and the tools. Raises Problem."""
        stop: Any = [self.stop] if isinstance(self.stop, str) else self.stop or []
        generation = Generation(
            temperature=self.temperature,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            stop=tuple(stop),
            top_p=self.top_p,
            seed=self.seed,
            response_format=self.response_format.plain() if self.response_format else None,
        )
        return self.with_tools(generation)


@router.post(
    COMPLETIONS_PATH,
    response_model=Completion,
    responses=problems(*ASKING, *ANSWERING) | {200: {"content": EVENT_STREAM}},
)
async def complete(
    request: Request, wanted: CompletionRequest, caller: Caller, held: Held, idempotency_key: IdempotencyKey = None
) -> Response | Completion:
    """Answer in OpenAI's shape, whole or as a stream. Errors have OpenAI's body too.

    A client that hangs up before the end cancels the answer.
    """
    asked = await _asked(held, caller.workspace, wanted, idempotency_key)
    exchange = await begin_keyed(held, asked, idempotency_key, request.scope["path"], wanted)
    if wanted.stream:
        usage = wanted.stream_options is not None and wanted.stream_options.include_usage
        return await opened(request, held, exchange, Chunks(exchange, wanted.model, include_usage=usage))
    with letting_go(held, exchange):
        return completion_of(exchange, await unless_gone(request.receive, exchange.end()))


PLAIN = Way(COMPLETIONS_PATH, CompletionRequest, complete)


async def _asked(held: Connections, workspace: str, wanted: CompletionRequest, key: str | None) -> ChatRequest:
    asked = await question(
        held,
        workspace,
        # A query is answered like a chat, and leaves nothing behind.
        purpose="query" if wanted.store is False else "chat",
        messages=wanted.plain(),
        model="" if wanted.model == DEFAULT_MODEL else wanted.model,
        generation=wanted.generation(),
        stream=bool(wanted.stream),
        retrieve=wanted.millrace.retrieve,
        top_k=wanted.millrace.top_k,
        filters=wanted.millrace.filters,
        conversation_id=wanted.millrace.conversation_id,
        idempotency_key=key,
    )
    own = wanted.millrace
    cached = own.cached and wanted.store is not False
    return routed(asked, own.intent, cached=cached, min_support=own.min_support)
