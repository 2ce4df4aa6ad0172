"""OpenAI's chat completions, answered from the sources."""

from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.responses import Response

from gateway.asking import question, routed
from gateway.auth import NEEDS_KEY, Caller
from gateway.calling import Tooled
from gateway.cancelling import letting_go
from gateway.completing import DEFAULT_MODEL, Chunks, Completion, Told, address_of, completion_of
from gateway.connections import Connections, Held
from gateway.documenting import EVENT_STREAM, NOT_DONE, problems
from gateway.exchange import unless_gone
from gateway.json_values import JsonSchema, MostTokens, Seed
from gateway.message_input import CompletionMessage, messages_of
from gateway.opening import opened
from gateway.plain import Way
from gateway.problems import COMPLETIONS_PATH, Code, Problem, invalid_field
from gateway.repeating import IdempotencyKey, begin_keyed
from gateway.routes.search import ANSWERING, ASKING, Filters, MinSupport
from schemas.chat import ChatRequest, Generation, Intent

router = APIRouter(tags=["chat"], dependencies=[NEEDS_KEY])

MAX_MESSAGES = 2_048
"""OpenAI's own bound."""
_LEAST_TOP_P = 1e-6
"""Takes the likeliest token alone, as 0 does with OpenAI; model servers refuse 0 (vLLM: "top_p must be in (0, 1]")."""


NOT_HERE = {
    "logprobs": "no backend is asked for probabilities: leave it out",
    "top_logprobs": "no backend is asked for probabilities: leave it out",
    "audio": "answers are text alone: leave it out",
    "modalities": "answers are text alone: leave it out",
}
"""Fields whose neglect would change what the answer means, and what to do instead."""


def lowest_top_p(given: float | None) -> float | None:
    """Return `top_p` as model servers take it."""
    return given if given is None else max(given, _LEAST_TOP_P)


class StreamOptions(BaseModel):
    """How a stream is told."""

    include_usage: bool | None = False
    """A last chunk with the usage and no choices."""


class ResponseFormat(BaseModel):
    """The form that the answer is to have; whether it can is the backend's to say."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def plain(self) -> dict[str, Any] | None:
        """Return the form as the log carries it; text is no form. Raises Problem for a schema that is not there."""
        if self.type == "json_schema" and self.json_schema is None:
            # Some servers fail at it, where they should refuse it.
            raise invalid_field("/response_format/json_schema", "a form of this type has a schema")
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
    top_p: float | None = Field(default=None, ge=0, le=1)
    seed: Seed | None = None
    stop: str | list[str] | None = None
    logprobs: Any = None
    top_logprobs: Any = None
    audio: Any = None
    modalities: list[str] | None = None
    response_format: ResponseFormat | None = None
    store: bool | None = None
    """False leaves no conversation behind, and no answer that others could be given. Otherwise it is kept: that is what
    conversations are made of here, whatever OpenAI's default."""
    millrace: Retrieval = Field(default_factory=Retrieval)

    @field_validator("millrace", mode="before")
    @classmethod
    def _nothing_wished_for(cls, given: Any) -> Any:
        return {} if given is None else given

    def check(self) -> None:
        """Raise Problem for what cannot be done here."""
        asked = {name: getattr(self, name) for name in NOT_HERE}
        asked["modalities"] = set(self.modalities or ()) - {"text"}
        for name, value in asked.items():
            if value:
                raise Problem(Code.UNSUPPORTED_PARAMETER, errors=[{"pointer": f"/{name}", "detail": NOT_HERE[name]}])

    def generation(self) -> Generation:
        """Return the sampling limits, and the tools. Raises Problem."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        generation = Generation(
            temperature=self.temperature,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            # An empty one stands at the beginning of every answer: OpenAI's clients mean none by it.
            stop=tuple(each for each in stop if each),
            top_p=lowest_top_p(self.top_p),
            seed=self.seed,
            response_format=self.response_format.plain() if self.response_format else None,
        )
        return self.with_tools(generation)


@router.post(
    COMPLETIONS_PATH,
    response_model=Completion,
    responses=problems(*ASKING, *ANSWERING, *NOT_DONE) | {200: {"content": EVENT_STREAM}},
)
async def complete(
    request: Request, wanted: CompletionRequest, caller: Caller, held: Held, idempotency_key: IdempotencyKey = None
) -> Response | Completion:
    """Answer in OpenAI's shape, whole or as a stream. Errors have OpenAI's body too.

    A client that hangs up before the end cancels the answer.
    """
    wanted.check()
    asked = await _asked(held, caller.workspace, wanted, idempotency_key)
    exchange = await begin_keyed(held, asked, idempotency_key, request.scope["path"], wanted)
    told = Told(address_of(request), by_functions=wanted.by_functions)
    if wanted.stream:
        usage = wanted.stream_options is not None and bool(wanted.stream_options.include_usage)
        return await opened(request, held, exchange, Chunks(exchange, wanted.model, told, include_usage=usage))
    with letting_go(held, exchange):
        return completion_of(exchange, await unless_gone(request.receive, exchange.end()), told)


PLAIN = Way(COMPLETIONS_PATH, CompletionRequest, complete)


async def _asked(held: Connections, workspace: str, wanted: CompletionRequest, key: str | None) -> ChatRequest:
    asked = await question(
        held,
        workspace,
        # A query is answered like a chat, and leaves nothing behind.
        purpose="query" if wanted.store is False else "chat",
        messages=messages_of(wanted.messages),
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
