"""Answers in the shape of OpenAI's chat completions, whole and in chunks.

https://platform.openai.com/docs/api-reference/chat/object and …/chat-streaming
"""

import re
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel

from gateway.exchange import Exchange
from gateway.problems import Problem, openai_error
from gateway.streaming import event
from infra.kafka.answers import Part
from schemas.chat import ChatReply, Citation, FunctionCall, Intent, ToolCall, Usage, markers

DEFAULT_MODEL = "millrace"
"""Model name by which OpenAI's clients ask for whatever this installation answers with."""

EMBEDDING_MODEL = "millrace-embeddings"
"""Model name by which they ask for vectors, whichever index is live."""

DONE = b"data: [DONE]\n\n"
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
_STANDS = "/%:@!$&'()*+,;=?~"
_LONE_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
"""OpenAI's finish reasons."""


class UrlCitation(BaseModel):
    """A source, and the marker in the text that cites it (code points; the end is exclusive)."""

    start_index: int
    end_index: int
    title: str
    url: str


class Annotation(BaseModel):
    """OpenAI's shape of a citation."""

    type: Literal["url_citation"] = "url_citation"
    url_citation: UrlCitation


class CompletionAnswer(BaseModel):
    """The answer as a message."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    """OpenAI's schema has it in every message; nobody refuses here in a field of its own."""
    annotations: list[Annotation]


class CallingAnswer(CompletionAnswer):
    """The answer where the model wants tools called: `content` is what it said besides."""

    tool_calls: list[ToolCall]


class FunctionAnswer(CompletionAnswer):
    """The same to a request that speaks of functions."""

    function_call: FunctionCall


class CompletionChoice(BaseModel):
    """The one answer."""

    index: int = 0
    message: CallingAnswer | FunctionAnswer | CompletionAnswer
    logprobs: None = None
    """Not asked for from any backend."""
    finish_reason: str


class CompletionUsage(BaseModel):
    """Tokens as the backend counted them; 0 where it does not count."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CompletionSources(BaseModel):
    """What OpenAI's shape has no room for."""

    citations: list[Citation]
    abstained: bool
    support: float | None
    served_by: str
    degraded: bool
    shortened: bool
    """Whether the question, or what a function returned for it, was too long for the prompt and lost its middle."""
    intent: Intent | None
    """What kind of question it was taken for; null where that was not asked."""
    request_id: UUID
    conversation_id: UUID


class Completion(BaseModel):
    """OpenAI's chat completion, with the citations in `millrace`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage
    millrace: CompletionSources


@dataclass(frozen=True, slots=True)
class Told:
    """How an answer is told."""

    address: str
    """Of this gateway, as its client called it: what has no address of its own has one here."""
    by_functions: bool = False
    """In the words of before there were tools."""


def address_of(request: Request) -> str:
    """Return the address that the client called, without a final slash."""
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        name, port = request.scope.get("server") or ("localhost", None)
        host = f"{name}:{port}" if port else name
    return f"{request.scope.get('scheme', 'http')}://{host}"


def completion_of(exchange: Exchange, reply: ChatReply, told: Told) -> Completion:
    """Return a finished answer."""
    return Completion(
        id=_id(exchange),
        created=int(exchange.accepted_at.timestamp()),
        model=reply.model or DEFAULT_MODEL,
        choices=[CompletionChoice(message=_message(reply, told), finish_reason=_finish(reply, told))],
        usage=_usage(reply.usage),
        millrace=sources_of(reply),
    )


def _message(reply: ChatReply, told: Told) -> CompletionAnswer:
    said: dict[str, Any] = {"annotations": annotations(reply.text, reply.citations, told.address)}
    if not reply.tool_calls:
        return CompletionAnswer(content=reply.text, **said)
    if told.by_functions:
        return FunctionAnswer(content=reply.text or None, function_call=reply.tool_calls[0].function, **said)
    return CallingAnswer(content=reply.text or None, tool_calls=list(reply.tool_calls), **said)


def _finish(reply: ChatReply, told: Told) -> str:
    """Return the reason in one of OpenAI's words. What broke off is not whole; a server's own word is an end."""
    if reply.finish_reason == "error":
        return "length"
    if told.by_functions and reply.finish_reason == "tool_calls":
        return "function_call"
    return reply.finish_reason if reply.finish_reason in _REASONS else "stop"


def annotations(text: str, citations: tuple[Citation, ...], address: str) -> list[Annotation]:
    """Return an annotation for each place where `text` cites a source. One without an address has ours."""
    by_number = {citation.number: citation for citation in citations}
    found = []
    for start, end, numbers in markers(text):
        for number in numbers:
            if citation := by_number.get(number):
                url = uri(citation.url) or f"{address}/v1/documents/{citation.document_id}"
                at = {"start_index": start, "end_index": end}
                found.append(Annotation(url_citation=UrlCitation(title=citation.title, url=url, **at)))
    return found


def uri(url: str) -> str:
    """Return an address as RFC 3986 writes it, what may not stand in it encoded; empty for what is none."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return ""
    if not parts.scheme or not (parts.netloc or parts.path):
        return ""
    inside = [_LONE_PERCENT.sub("%25", quote(part, safe=_STANDS)) for part in (parts.path, parts.query, parts.fragment)]
    return urlunsplit((parts.scheme, quote(parts.netloc, safe="%:@[]!$&'()*+,;="), *inside))


class Chunks:
    """A streamed completion: the role, the text, the finish reason with the sources, the usage where it was asked for.

    Its events have no ids: OpenAI's own have none, and the Python client takes a comment after an id for an event.
    """

    def __init__(self, exchange: Exchange, model: str, told: Told, *, include_usage: bool) -> None:
        self._told = told
        self._known: dict[str, Any] = {
            "id": _id(exchange),
            "object": "chat.completion.chunk",
            "created": int(exchange.accepted_at.timestamp()),
            "model": model,
        }
        self._include_usage = include_usage

    def opening(self) -> bytes:
        """Return the chunk with the role."""
        return self._chunk({"role": "assistant", "content": ""})

    def text(self, part: Part) -> bytes:
        """Return a chunk of text."""
        return self._chunk({"content": part.text})

    def end(self, reply: ChatReply) -> bytes:
        """Return the last chunks."""
        cited = [each.model_dump() for each in annotations(reply.text, reply.citations, self._told.address)]
        delta = {"annotations": cited} if cited else {}
        sources = sources_of(reply).model_dump(mode="json")
        # In a chunk of their own: some clients read no more of the one with the finish reason.
        calls: dict[str, Any] = {
            "tool_calls": [{"index": at, **call.model_dump()} for at, call in enumerate(reply.tool_calls)]
        }
        if self._told.by_functions and reply.tool_calls:
            calls = {"function_call": reply.tool_calls[0].function.model_dump()}
        called = self._chunk(calls) if reply.tool_calls else b""
        last = called + self._chunk(delta, _finish(reply, self._told), millrace=sources)
        if not self._include_usage:
            return last + DONE
        usage = {**self._known, "choices": [], "usage": _usage(reply.usage).model_dump()}
        return last + event(usage) + DONE

    def error(self, problem: Problem) -> bytes:
        """Return the error as OpenAI's clients expect it in a stream, which it ends."""
        return event(openai_error(problem))

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if self._include_usage else {}
        return event({**self._known, "choices": [choice], **usage, **more})


def _id(exchange: Exchange) -> str:
    return f"chatcmpl-{exchange.request_id}"


def _usage(usage: Usage) -> CompletionUsage:
    return CompletionUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
    )


def sources_of(reply: ChatReply) -> CompletionSources:
    """Return what an answer rests on."""
    return CompletionSources(
        citations=list(reply.citations),
        abstained=reply.abstained,
        support=reply.support,
        served_by=reply.served_by,
        degraded=reply.degraded,
        shortened=reply.shortened,
        intent=reply.intent,
        request_id=reply.request_id,
        conversation_id=reply.conversation_id,
    )
