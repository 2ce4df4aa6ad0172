"""Answers in the shape of OpenAI's responses, whole and as events.

https://platform.openai.com/docs/api-reference/responses/object and …/responses-streaming
"""

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer

from gateway.completing import DEFAULT_MODEL, CompletionSources, Told, annotations, sources_of
from gateway.exchange import Exchange
from gateway.problems import Problem
from gateway.streaming import event
from infra.kafka.answers import Part
from schemas.chat import ChatReply

Status = Literal["in_progress", "completed", "incomplete", "failed"]
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Finish reasons of an answer that is not whole, in the words of this shape."""


class ResponseAnnotation(BaseModel):
    """A source, and the marker in the text that cites it (code points; the end is exclusive)."""

    type: Literal["url_citation"] = "url_citation"
    start_index: int
    end_index: int
    title: str
    url: str


class ResponseText(BaseModel):
    """The words of an answer."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[ResponseAnnotation] = []
    logprobs: list[Any] = []


class ResponseMessage(BaseModel):
    """The answer as an item."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    status: Literal["in_progress", "completed", "incomplete"]
    content: list[ResponseText]


class ResponseCall(BaseModel):
    """A function that the model wants called, as an item."""

    id: str
    type: Literal["function_call"] = "function_call"
    status: Literal["in_progress", "completed"] = "completed"
    call_id: str
    name: str
    arguments: str


class ResponseFault(BaseModel):
    """Why there is no answer, or not the whole of it."""

    code: str
    message: str


class ResponseUsage(BaseModel):
    """Tokens as the backend counted them; 0 where it does not count."""

    input_tokens: int
    input_tokens_details: dict[str, int] = {"cached_tokens": 0}
    output_tokens: int
    output_tokens_details: dict[str, int] = {"reasoning_tokens": 0}
    total_tokens: int


class Asked(BaseModel):
    """What a response repeats of its request."""

    instructions: str | None = None
    max_output_tokens: int | None = None
    metadata: dict[str, str] = {}
    previous_response_id: str | None = None
    store: bool = True
    temperature: float | None = None
    text: dict[str, Any] = {"format": {"type": "text"}}
    top_p: float | None = None
    parallel_tool_calls: bool = True
    tool_choice: str | dict[str, Any] = "auto"
    tools: list[dict[str, Any]] = []
    truncation: Literal["disabled"] = "disabled"


class ResponseObject(Asked):
    """OpenAI's response, with the citations in `millrace`."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Status
    error: ResponseFault | None = None
    incomplete_details: dict[str, str] | None = None
    model: str
    output: list[ResponseMessage | ResponseCall]
    usage: ResponseUsage | None = None
    """Left out until it is known: OpenAI's schema has no null for it."""
    millrace: CompletionSources | None = Field(default=None, description="What OpenAI's shape has no room for.")

    @model_serializer(mode="wrap")
    def _without_unknown_usage(self, told: SerializerFunctionWrapHandler) -> dict[str, Any]:
        response: dict[str, Any] = told(self)
        if self.usage is None:
            response.pop("usage")
        return response


def response_id(request_id: UUID) -> str:
    """Return the id by which OpenAI's clients know a request."""
    return f"resp_{request_id}"


def response_of(exchange: Exchange, asked: Asked, reply: ChatReply, told: Told) -> ResponseObject:
    """Return a finished answer. One that broke off is told as failed, with what there is of it."""
    reason = _INCOMPLETE.get(reply.finish_reason)
    broke_off = reply.finish_reason == "error"
    status: Status = "failed" if broke_off else "incomplete" if reason else "completed"
    return ResponseObject(
        **asked.model_dump(),
        id=response_id(exchange.request_id),
        created_at=int(exchange.accepted_at.timestamp()),
        status=status,
        error=ResponseFault(code="server_error", message="the answer broke off") if broke_off else None,
        incomplete_details={"reason": reason} if reason else None,
        model=reply.model or DEFAULT_MODEL,
        output=_output(exchange, reply, "completed" if status == "completed" else "incomplete", told),
        usage=ResponseUsage(
            input_tokens=reply.usage.prompt_tokens,
            output_tokens=reply.usage.completion_tokens,
            total_tokens=reply.usage.prompt_tokens + reply.usage.completion_tokens,
        ),
        millrace=sources_of(reply),
    )


def _output(
    exchange: Exchange, reply: ChatReply, status: Literal["completed", "incomplete"], told: Told
) -> list[ResponseMessage | ResponseCall]:
    """Return the words, if there are any or nothing else, and the calls."""
    words = [_message(exchange, reply, status, told)] if reply.text or not reply.tool_calls else []
    calls = [
        ResponseCall(
            id=f"fc_{exchange.request_id}_{at}",
            call_id=call.id,
            name=call.function.name,
            arguments=call.function.arguments,
        )
        for at, call in enumerate(reply.tool_calls)
    ]
    return [*words, *calls]


def _message(
    exchange: Exchange, reply: ChatReply, status: Literal["completed", "incomplete"], told: Told
) -> ResponseMessage:
    found = annotations(reply.text, reply.citations, told.address)
    cited = [ResponseAnnotation(**each.url_citation.model_dump()) for each in found]
    return ResponseMessage(
        id=_item_id(exchange), status=status, content=[ResponseText(text=reply.text, annotations=cited)]
    )


class ResponseEvents:
    """A streamed response: `response.created`, the items with their text or their calls, and the end of each.

    Its events have no ids, as OpenAI's have none; `sequence_number` counts them.
    """

    def __init__(self, exchange: Exchange, asked: Asked, model: str, told: Told) -> None:
        self._told = told
        self._exchange = exchange
        self._begun = ResponseObject(
            **asked.model_dump(),
            id=response_id(exchange.request_id),
            created_at=int(exchange.accepted_at.timestamp()),
            status="in_progress",
            model=model,
            output=[],
        )
        self._asked = asked
        self._sequence = 0
        self._speaking = False
        self._place = {"output_index": 0, "item_id": _item_id(exchange), "content_index": 0}

    def opening(self) -> bytes:
        """Return the events before anything is known of the answer."""
        begun = self._begun.model_dump(mode="json")
        return self._event("response.created", response=begun) + self._event("response.in_progress", response=begun)

    def text(self, part: Part) -> bytes:
        """Return new text."""
        opening = b"" if self._speaking else self._message_begun()
        return opening + self._event("response.output_text.delta", **self._place, delta=part.text, logprobs=[])

    def end(self, reply: ChatReply) -> bytes:
        """Return the end of each item, and of the response."""
        response = response_of(self._exchange, self._asked, reply, self._told)
        told = []
        for at, item in enumerate(response.output):
            told += self._message_told(item) if isinstance(item, ResponseMessage) else self._call_told(item, at)
        told.append(self._event(f"response.{response.status}", response=response.model_dump(mode="json")))
        return b"".join(told)

    def _message_begun(self) -> bytes:
        self._speaking = True
        item = ResponseMessage(id=_item_id(self._exchange), status="in_progress", content=[])
        return self._event(
            "response.output_item.added", output_index=0, item=item.model_dump(mode="json")
        ) + self._event("response.content_part.added", **self._place, part=ResponseText(text="").model_dump())

    def _message_told(self, item: ResponseMessage) -> list[bytes]:
        (part,) = item.content
        told = [] if self._speaking else [self._message_begun()]
        for at, each in enumerate(part.annotations):
            added = {"annotation_index": at, "annotation": each.model_dump()}
            told.append(self._event("response.output_text.annotation.added", **self._place, **added))
        told.append(self._event("response.output_text.done", **self._place, text=part.text, logprobs=[]))
        told.append(self._event("response.content_part.done", **self._place, part=part.model_dump()))
        told.append(self._event("response.output_item.done", output_index=0, item=item.model_dump(mode="json")))
        return told

    def _call_told(self, item: ResponseCall, at: int) -> list[bytes]:
        """Return the events of a call, whole: it is known only at the end."""
        begun = item.model_copy(update={"status": "in_progress", "arguments": ""})
        place = {"output_index": at, "item_id": item.id}
        written = {"name": item.name, "arguments": item.arguments}
        return [
            self._event("response.output_item.added", output_index=at, item=begun.model_dump()),
            self._event("response.function_call_arguments.delta", **place, delta=item.arguments),
            self._event("response.function_call_arguments.done", **place, **written),
            self._event("response.output_item.done", output_index=at, item=item.model_dump()),
        ]

    def error(self, problem: Problem) -> bytes:
        """Return the failed response, which ends the stream."""
        fault = ResponseFault(code="server_error", message=f"{problem.detail} ({problem.code.label})")
        failed = self._begun.model_copy(update={"status": "failed", "error": fault})
        return self._event("response.failed", response=failed.model_dump(mode="json"))

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._sequence += 1
        return event({"type": kind, "sequence_number": self._sequence - 1, **fields}, kind)


def _item_id(exchange: Exchange) -> str:
    return f"msg_{exchange.request_id}"
