"""OpenAI's responses, answered from the sources: text in, text out."""

from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.responses import Response

from gateway.asking import MAX_CONTENT, question, routed
from gateway.auth import NEEDS_KEY, Caller
from gateway.calling import check_calls
from gateway.cancelling import letting_go
from gateway.completing import DEFAULT_MODEL, Told, address_of
from gateway.connections import Connections, Held
from gateway.continuing import continued
from gateway.documenting import EVENT_STREAM, NOT_DONE, problems
from gateway.exchange import unless_gone
from gateway.json_values import JsonSchema, MostTokens
from gateway.message_input import asking
from gateway.opening import opened
from gateway.plain import Way
from gateway.problems import RESPONSES_PATH, Code, Problem, invalid_field
from gateway.repeating import IdempotencyKey, begin_keyed
from gateway.responding import Asked, ResponseEvents, ResponseObject, response_of
from gateway.response_input import Input, InputMessage, InputResult, ResponseTools, messages_of
from gateway.routes.completions import Retrieval, lowest_top_p
from gateway.routes.search import ANSWERING, ASKING
from infra.postgres.turns import Turns
from schemas.chat import ChatMessage, ChatRequest, Generation

router = APIRouter(tags=["chat"], dependencies=[NEEDS_KEY])

_NOT_HERE = {
    "background": "a response is waited for or streamed; what became of it tells GET /v1/chat/{id}",
    "conversation": "go on with previous_response_id, or name millrace.conversation_id",
    "prompt": "no prompts are stored here: send instructions and input",
    "top_logprobs": "no backend is asked for probabilities: leave it out",
}
"""Fields whose neglect would change what the answer means, and what to do instead."""


class TextFormat(BaseModel):
    """The form that the answer is to have; whether it can is the backend's to say."""

    model_config = ConfigDict(serialize_by_alias=True)

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    form: JsonSchema | None = Field(default=None, alias="schema")
    strict: bool | None = None

    def plain(self) -> dict[str, Any] | None:
        """Return the form in the words of the chat completions, which backends know. Raises Problem."""
        if self.type != "json_schema":
            return None if self.type == "text" else {"type": self.type}
        if not self.name or self.form is None:
            raise invalid_field("/text/format", "a json_schema has a name and a schema")
        return {"type": self.type, "json_schema": self.model_dump(exclude={"type"}, exclude_none=True)}


class TextOptions(BaseModel):
    """How the answer is written."""

    format: TextFormat | None = None
    """None is text."""


class ResponseRequest(ResponseTools):
    """OpenAI's request for a response; fields that change nothing about the answer here are ignored.

    https://platform.openai.com/docs/api-reference/responses/create
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": DEFAULT_MODEL, "input": "Who fixed the timeout?"}]}
    )

    model: str = Field(default=DEFAULT_MODEL, max_length=200)
    input: Input
    instructions: str | None = Field(default=None, max_length=MAX_CONTENT)
    previous_response_id: str | None = None
    """An answer that was stored: the conversation up to it is read before the input."""
    stream: bool | None = False
    store: bool | None = True
    """False leaves no conversation behind: such a response cannot be gone on from."""
    max_output_tokens: MostTokens | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    text: TextOptions | None = None
    metadata: dict[str, str] | None = Field(default=None, max_length=16)
    background: Any = None
    conversation: Any = None
    prompt: Any = None
    top_logprobs: Any = None
    millrace: Retrieval = Field(default_factory=Retrieval)

    @field_validator("millrace", mode="before")
    @classmethod
    def _nothing_wished_for(cls, given: Any) -> Any:
        return {} if given is None else given

    @property
    def form(self) -> TextFormat:
        """The form of the answer."""
        return (self.text and self.text.format) or TextFormat(type="text")

    def check(self) -> None:
        """Raise Problem for what cannot be done here."""
        for name, instead in _NOT_HERE.items():
            if getattr(self, name):
                raise Problem(Code.UNSUPPORTED_PARAMETER, errors=[{"pointer": f"/{name}", "detail": instead}])
        if self.previous_response_id is not None and self.millrace.conversation_id is not None:
            raise invalid_field("/millrace/conversation_id", "previous_response_id names the conversation already")
        for at, item in enumerate(self.input):
            if isinstance(item, InputMessage | InputResult) and len(messages_of([item])[0].content) > MAX_CONTENT:
                raise invalid_field(f"/input/{at}", f"a message has at most {MAX_CONTENT} characters")

    def previous(self) -> UUID | None:
        """Return the request whose answer is gone on from. Raises Problem if the id is none of ours."""
        if self.previous_response_id is None:
            return None
        try:
            return UUID(self.previous_response_id.removeprefix("resp_"))
        except ValueError as error:
            raise _unknown() from error

    def said(self) -> list[ChatMessage]:
        """Return the input, one message of it the user's. Raises Problem for calls without results, and where nothing
        is asked.
        """
        messages = messages_of(self.input)
        check_calls(messages, "input")
        return asking(messages, "input")

    def messages(self, earlier: Turns | None) -> list[ChatMessage]:
        """Return the instructions, the conversation so far, and the input. Raises as `said`."""
        told = [ChatMessage(role="system", content=self.instructions)] if self.instructions else []
        return [*told, *(earlier.messages if earlier else ()), *self.said()]

    def generation(self) -> Generation:
        """Return the sampling limits, and the tools. Raises Problem."""
        generation = Generation(
            temperature=self.temperature,
            max_tokens=self.max_output_tokens,
            top_p=lowest_top_p(self.top_p),
            response_format=self.form.plain(),
        )
        return self.with_tools(generation)

    def asked(self) -> Asked:
        """Return what the response repeats."""
        choice = self.tool_choice
        return Asked(
            instructions=self.instructions,
            max_output_tokens=self.max_output_tokens,
            metadata=self.metadata or {},
            previous_response_id=self.previous_response_id,
            store=self.store is not False,
            temperature=self.temperature,
            text={"format": self.form.model_dump(exclude_none=True)},
            top_p=self.top_p,
            parallel_tool_calls=self.parallel_tool_calls is not False,
            tool_choice=choice.model_dump() if isinstance(choice, BaseModel) else choice or "auto",
            tools=[tool.model_dump() for tool in self.tools or ()],
        )


@router.post(
    RESPONSES_PATH,
    response_model=ResponseObject,
    responses=problems(*ASKING, *ANSWERING, *NOT_DONE, Code.REQUEST_NOT_FOUND) | {200: {"content": EVENT_STREAM}},
)
async def respond(
    request: Request, wanted: ResponseRequest, caller: Caller, held: Held, idempotency_key: IdempotencyKey = None
) -> Response | ResponseObject:
    """Answer in the shape of OpenAI's responses, whole or as events. A client that hangs up cancels the answer."""
    wanted.check()
    asked = await _asked(held, caller.workspace, wanted, idempotency_key)
    exchange = await begin_keyed(held, asked, idempotency_key, request.scope["path"], wanted)
    told = Told(address_of(request))
    if wanted.stream:
        return await opened(request, held, exchange, ResponseEvents(exchange, wanted.asked(), wanted.model, told))
    with letting_go(held, exchange):
        return response_of(exchange, wanted.asked(), await unless_gone(request.receive, exchange.end()), told)


PLAIN = Way(RESPONSES_PATH, ResponseRequest, respond)


async def _asked(held: Connections, workspace: str, wanted: ResponseRequest, key: str | None) -> ChatRequest:
    earlier = await _earlier(held, workspace, wanted)
    asked = await question(
        held,
        workspace,
        # A query is answered like a chat, and leaves nothing behind.
        purpose="query" if wanted.store is False else "chat",
        messages=wanted.messages(earlier),
        model="" if wanted.model == DEFAULT_MODEL else wanted.model,
        generation=wanted.generation(),
        stream=bool(wanted.stream),
        retrieve=wanted.millrace.retrieve,
        top_k=wanted.millrace.top_k,
        filters=wanted.millrace.filters,
        conversation_id=earlier.conversation_id if earlier else wanted.millrace.conversation_id,
        idempotency_key=key,
    )
    own = wanted.millrace
    cached = own.cached and wanted.store is not False
    return routed(asked, own.intent, cached=cached, min_support=own.min_support)


async def _earlier(held: Connections, workspace: str, wanted: ResponseRequest) -> Turns | None:
    previous = wanted.previous()
    if previous is None:
        return None
    try:
        return await continued(held, workspace, previous)
    except Problem as problem:
        raise _unknown() from problem


def _unknown() -> Problem:
    detail = "there is no stored response of this id to go on from"
    return Problem(Code.REQUEST_NOT_FOUND, errors=[{"pointer": "/previous_response_id", "detail": detail}])
