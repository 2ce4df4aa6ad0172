"""Answers with any OpenAI-compatible HTTP server: vLLM, Ollama, llama.cpp, MAX, or a hosted one.

Answers are always streamed from the server, whether the asker reads along or not: silence is noticed within seconds
instead of at the deadline, and closing the connection ends the work there.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import datetime
from importlib.metadata import version
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError

from infra.errors import Permanent, Transient
from infra.telemetry.metrics import Metric, observe
from infra.transport import transport as own_transport
from schemas.chat import ChatMessage, ChatPrompt, Usage
from schemas.dead_letters import Reason
from schemas.event import now
from workers.inference.backends.backend import Answer, NothingSaid, RequestRefused, Say, silently
from workers.inference.backends.calling import Calls
from workers.inference.backends.events import DONE, data_lines
from workers.inference.backends.refusals import passed_on, raise_for, told_within
from workers.inference.backends.wire import Chunk, Completion, Message, Models, Tokens
from workers.inference.cite import citations_in
from workers.inference.settings import OpenAISettings
from workers.inference.speak import Spoken

DEPENDENCY = "inference"
MODELS = "models"
COMPLETIONS = "chat/completions"
CONNECT_TIMEOUT_S = 5.0
END_WITHIN_S = 0.05
"""How long the end of a body is waited for whose answer is complete; mostly it came with it."""
LIST_KEPT_S = 30.0
"""How long the server's list of models is believed before an unknown name makes it be read again."""
_PASSED_ON = {"stop", "top_p", "seed", "response_format", "tools", "tool_choice", "parallel_tool_calls"}
_CUT_SHORT = frozenset({"length", "content_filter"})
_NOT_ANSWERED = ("do not answer", "does not answer", "don't answer", "doesn't answer", "not in the sources")


class OpenAIBackend:
    """A served language model. Connections are kept, for all prompts together."""

    writes = True

    def __init__(
        self, settings: OpenAISettings, transport: httpx.AsyncBaseTransport | None = None, name: str = "openai"
    ) -> None:
        self.name = name
        self._settings = settings
        self._model = settings.model
        self._listed: frozenset[str] = frozenset()
        self._listed_at = float("-inf")
        self._listing = asyncio.Lock()
        address = httpx.URL(endpoint(settings.url))
        self._urls = {path: address.join(path) for path in (MODELS, COMPLETIONS)}
        self._headers = _headers(settings)
        self._server = transport or own_transport() or httpx.AsyncClient()

    @property
    def model(self) -> str:
        """The model asked for; empty until the server was first asked for its list, if the settings name none."""
        return self._model

    @property
    def temperature(self) -> float:
        """Of answers whose request sets none."""
        return self._settings.temperature

    async def serves(self, model: str) -> bool:
        """Say whether `model` is this backend's own, one of the settings, or one that the server lists now.

        Raises Transient, or Permanent where it refuses, if the server cannot be asked and no earlier list names it.
        """
        return model in self._known() or model in await self._asked_for()

    async def names(self) -> frozenset[str]:
        """Return its own model, those of the settings, and what the server lists. Raises Transient, Permanent."""
        return await self._asked_for() - {self.name}

    async def answer(self, prompt: ChatPrompt, say: Say = silently) -> Answer:
        """Return the model's answer, its [n] markers as citations.

        Raises Transient (unreachable, overloaded, silent, broken off, an answer that is no completion; NothingSaid,
        Faulted), Permanent (wrong key, unknown model) or RequestRefused (prompt too long, parameters that the server
        does not take).
        """
        if not self._model:
            await self._list(_left(prompt.request.deadline))
        generation = prompt.request.generation
        spoken = Spoken(
            at_once=not prompt.request.stream, reasoning=self._settings.reasoning, stop=generation.stop or ()
        )
        text: list[str] = []
        asked_at = monotonic()

        def hear(piece: str) -> None:
            if piece and not text:
                observe(Metric.BACKEND_BEGIN_SECONDS, monotonic() - asked_at, self.name)
            text.extend([spoken.feed(piece)] if piece else [])
            say(text[-1] if piece else "")

        body, heard = self._body(prompt), Calls()
        finish, usage = await self._written(body, prompt.request.deadline, hear, heard)
        text.append(spoken.rest())
        finish = "stop" if spoken.stopped else finish
        whole = "".join(text)
        # Some models call what nobody has offered.
        calls = heard.whole(prompt.request.request_id) if generation.calls_tools else ()
        if not (whole or calls) and (heard or not _may_be_empty(finish, prompt)):
            raise NothingSaid(DEPENDENCY, f"an empty answer, finish reason {finish}")
        say(text[-1])
        citations = citations_in(whole, prompt.passages)
        return Answer(
            whole,
            citations,
            abstained=not citations and bool(prompt.passages) and any(said in whole.lower() for said in _NOT_ANSWERED),
            usage=Usage(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens),
            # Of a call that was demanded some servers say `stop`.
            finish_reason="tool_calls" if calls and finish == "stop" else finish,
            model=body["model"],
            tool_calls=calls,
            adapter="" if body["model"] == self._model else body["model"],
        )

    async def close(self) -> None:
        """Close the kept connections."""
        await self._server.aclose()

    def _known(self) -> frozenset[str]:
        return self._listed.union(self._settings.models, {self.name, self._model} - {""})

    async def _asked_for(self) -> frozenset[str]:
        async with self._listing:
            if monotonic() - self._listed_at > LIST_KEPT_S:
                await self._list(CONNECT_TIMEOUT_S)
        return self._known()

    async def _list(self, within_s: float) -> None:
        try:
            async with self._asked("GET", MODELS, None, within_s) as response:
                content = await response.aread()
        except RequestRefused as refused:
            # No asker's request is at fault: this one is ours.
            raise Permanent(Reason.REFUSED_BY_SINK, f"{MODELS}: {refused.detail}") from refused
        try:
            models = Models.model_validate_json(content)
        except ValidationError as error:
            # A proxy's error page under 200, or a server that is starting.
            raise Transient(DEPENDENCY, "models: not a list of models") from error
        self._listed = frozenset(model.id for model in models.data)
        self._listed_at = monotonic()
        self._model = self._model or models.data[0].id

    def _body(self, prompt: ChatPrompt) -> dict[str, Any]:
        request, generation = prompt.request, prompt.request.generation
        named = request.model != self.name and request.model in self._known()
        temperature = generation.temperature
        body: dict[str, Any] = {
            "model": request.model if named else self._model,
            "messages": [_message(message) for message in prompt.messages],
            "temperature": self._settings.temperature if temperature is None else temperature,
            "max_tokens": generation.max_tokens or self._settings.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        given = generation.model_dump(include=_PASSED_ON)
        # Servers differ in what they make of a null.
        return body | {name: value for name, value in given.items() if value is not None and value != ()}

    async def _written(self, body: dict[str, Any], deadline: datetime, hear: Say, calls: Calls) -> tuple[str, Tokens]:
        """Hand each piece to `hear` and `calls`; return the finish reason and the usage."""
        async with self._asked("POST", COMPLETIONS, body, _left(deadline)) as response:
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                # Some proxies gather a stream before they pass it on.
                return _whole(await response.aread(), hear, calls)
            patience = self._settings.first_timeout_s, self._settings.chunk_timeout_s
            async with aclosing(data_lines(response.aiter_bytes(), DEPENDENCY, *patience)) as lines:
                return await _streamed(lines, hear, calls)

    @asynccontextmanager
    async def _asked(
        self, method: str, path: str, body: dict[str, Any] | None, left: float
    ) -> AsyncIterator[httpx.Response]:
        """Ask, and yield a good answer whose body is still to be read. Raises as `answer`."""
        if left <= 0:
            raise Transient(DEPENDENCY, "no time left before the deadline")
        first = min(left, self._settings.first_timeout_s)
        timeout = httpx.Timeout(min(left, self._settings.timeout_s), connect=min(left, CONNECT_TIMEOUT_S))
        # Not the client's build_request(): it merges address and headers anew, 0.09 ms of an answer's 1.7.
        content = None if body is None else passed_on(body)
        extensions = {"timeout": timeout.as_dict()}
        request = httpx.Request(method, self._urls[path], headers=self._headers, content=content, extensions=extensions)
        try:
            async with asyncio.timeout(first):
                response = await self._sent(request)
            try:
                await raise_for(response, DEPENDENCY)
                yield response
            finally:
                await response.aclose()
        except TimeoutError as error:
            raise Transient(DEPENDENCY, f"{path}: no answer within {first:g} s") from error
        except httpx.TransportError as error:
            raise Transient(DEPENDENCY, type(error).__name__) from error

    async def _sent(self, request: httpx.Request) -> httpx.Response:
        """Return the beginning of what is answered."""
        if isinstance(self._server, httpx.AsyncClient):
            return await self._server.send(request, stream=True)
        # A client adds redirects, which are not followed here, and cookies, which are not wanted: 0.1 ms an answer.
        response = await self._server.handle_async_request(request)
        response.request = request
        return response


def _may_be_empty(finish: str, prompt: ChatPrompt) -> bool:
    """Whether an answer without a word is one: OpenAI's own are, where all of `max_tokens` went into thinking. With
    sources, or after calls that nobody offered, another backend may have something to say.
    """
    return finish in _CUT_SHORT or (finish == "stop" and not prompt.passages)


def _message(message: ChatMessage) -> dict[str, Any]:
    """Return a message in OpenAI's words, without the fields that its role has not."""
    told: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        told |= {"content": message.content or None, "tool_calls": [call.model_dump() for call in message.tool_calls]}
    return told | ({"tool_call_id": message.tool_call_id} if message.tool_call_id else {})


def endpoint(url: str) -> str:
    """Return the address that paths are joined to: `url` with a final slash, `/v1` added where it has no path."""
    address = url.rstrip("/")
    return f"{address}/" if urlsplit(address).path else f"{address}/v1/"


async def _streamed(lines: AsyncIterator[bytes], hear: Say, calls: Calls) -> tuple[str, Tokens]:
    finish, usage, done = "", Tokens(), False
    async for line in lines:
        if line == DONE:
            done = True
            await _read_out(lines)
            break
        if not line:
            hear("")
            continue
        try:
            chunk = Chunk.model_validate_json(line)
        except ValidationError as error:
            raise Transient(DEPENDENCY, "chat/completions: not a chunk of a completion") from error
        if chunk.error is not None:
            raise told_within(chunk.error, DEPENDENCY)
        usage = chunk.usage or usage
        for choice in chunk.choices[:1]:
            hear(choice.delta.content or "")
            calls.add(choice.delta.tool_calls or ())
            finish = choice.finish_reason or finish
    if not done and not finish:
        raise Transient(DEPENDENCY, "the answer broke off")
    return finish or "stop", usage


async def _read_out(lines: AsyncIterator[bytes]) -> None:
    """Read the end of the body, which follows the answer's: only then can the connection be used again."""
    with suppress(TimeoutError, Transient, httpx.TransportError):
        async with asyncio.timeout(END_WITHIN_S):
            async for _ in lines:
                pass


def _whole(content: bytes, hear: Say, calls: Calls) -> tuple[str, Tokens]:
    try:
        completion = Completion.model_validate_json(content)
    except ValidationError as error:
        raise Transient(DEPENDENCY, "chat/completions: not a completion") from error
    choice = completion.choices[0]
    if choice.message == Message() and choice.finish_reason is None:
        raise Transient(DEPENDENCY, "chat/completions: neither a message nor its end")
    hear(choice.message.content or "")
    calls.add(choice.message.tool_calls or ())
    return choice.finish_reason or "stop", completion.usage or Tokens()


def _headers(settings: OpenAISettings) -> httpx.Headers:
    headers = {"Accept": "*/*", "Content-Type": "application/json", "User-Agent": f"millrace/{version('millrace')}"}
    if settings.api_key is not None:
        headers["Authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
    return httpx.Headers(headers)


def _left(deadline: datetime) -> float:
    return (deadline - now()).total_seconds()
