"""OpenAI's chat completions, answered from the sources."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from gateway.asking import begin, question, routed
from gateway.auth import NEEDS_KEY, Caller
from gateway.cancelling import let_go, letting_go
from gateway.completing import DEFAULT_MODEL, Chunks, Completion, completion_of
from gateway.connections import Connections, Held
from gateway.documenting import EVENT_STREAM, problems
from gateway.exchange import Exchange, failed, unless_gone
from gateway.problems import COMPLETIONS_PATH, Code, Problem
from gateway.repeating import IdempotencyKey, begin_once, fingerprint
from gateway.routes.search import ANSWERING, ASKING, MAX_QUESTION, Filters
from gateway.streaming import Stream, told
from schemas.chat import ChatMessage, ChatRequest, Generation, Intent

router = APIRouter(tags=["chat"], dependencies=[NEEDS_KEY])

MAX_MESSAGES = 200
MAX_CONTENT = 100_000


class TextPart(BaseModel):
    """A part of a message; only text can be read."""

    type: Literal["text"]
    text: str = Field(max_length=MAX_CONTENT)


class CompletionMessage(BaseModel):
    """A message of OpenAI's shape. `developer` is today's name of `system`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[str, Field(max_length=MAX_CONTENT)] | list[TextPart]

    def plain(self) -> ChatMessage:
        """Return the message as the log carries it."""
        parts = self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)
        return ChatMessage(role="system" if self.role == "developer" else self.role, content=parts)


class StreamOptions(BaseModel):
    """How a stream is told."""

    include_usage: bool = False
    """A last chunk with the usage and no choices."""


class ResponseFormat(BaseModel):
    """The form that the answer is to have; whether it can is the backend's to say."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None

    def plain(self) -> dict[str, Any] | None:
        """Return the form as the log carries it; text is no form."""
        return None if self.type == "text" else self.model_dump(exclude_none=True)


class Retrieval(BaseModel):
    """What OpenAI's request has no room for: which sources are read."""

    model_config = ConfigDict(extra="forbid")

    retrieve: bool = True
    top_k: int = Field(default=5, ge=1, le=100)
    filters: Filters = Filters()
    conversation_id: UUID | None = None
    """Under which the exchange is kept; the messages are those of the request."""
    intent: Intent | None = None
    """What kind of question it is, where the sender knows better than the classifier. A named `model` wins."""
    cached: bool = True
    """Whether an earlier answer to nearly the same question may stand in while no model answers."""


class CompletionRequest(BaseModel):
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
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = None
    stop: str | list[str] | None = None
    response_format: ResponseFormat | None = None
    millrace: Retrieval = Retrieval()

    def plain(self) -> list[ChatMessage]:
        """Return the messages. Raises Problem if the last one asks nothing."""
        messages = [message.plain() for message in self.messages]
        if messages[-1].role != "user" or not 0 < len(messages[-1].content.strip()) <= MAX_QUESTION:
            detail = f"the last message is the user's, with 1 to {MAX_QUESTION} characters"
            fault = {"pointer": f"/messages/{len(messages) - 1}", "detail": detail}
            raise Problem(Code.INVALID_REQUEST, errors=[fault])
        return messages

    def generation(self) -> Generation:
        """Return the sampling limits."""
        stop: Any = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Generation(
            temperature=self.temperature,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            stop=tuple(stop),
            top_p=self.top_p,
            seed=self.seed,
            response_format=self.response_format.plain() if self.response_format else None,
        )


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
    if idempotency_key is None:
        exchange = await begin(held, asked)
    else:
        exchange = await begin_once(held, asked, fingerprint(request.url.path, wanted))
    if wanted.stream:
        return await _streamed(request, held, exchange, wanted)
    with letting_go(held, exchange):
        return completion_of(exchange, await unless_gone(request, exchange.end()))


async def _asked(held: Connections, workspace: str, wanted: CompletionRequest, key: str | None) -> ChatRequest:
    asked = await question(
        held,
        workspace,
        purpose="chat",
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
    return routed(asked, wanted.millrace.intent, cached=wanted.millrace.cached)


async def _streamed(request: Request, held: Connections, exchange: Exchange, wanted: CompletionRequest) -> Response:
    """Return the stream once the answer begins, so that a refusal still is a status and a body of its own."""
    every_s = held.settings.keepalive_s
    with letting_go(held, exchange, keep=True):
        first = await unless_gone(request, exchange.after(0, every_s))
        if first is not None and first.end is not None and first.end.kind == "error" and not first.text:
            raise failed(first.end.error)
    usage = wanted.stream_options is not None and wanted.stream_options.include_usage
    shape = Chunks(exchange, wanted.model, include_usage=usage)
    content = told(exchange, shape, first=first, every_s=every_s)
    return Stream(content, lambda gone: let_go(held, exchange, hung_up=gone))
