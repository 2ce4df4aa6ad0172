"""Answers with any OpenAI-compatible HTTP server: vLLM, Ollama, llama.cpp, MAX, or a hosted one.

Protocol: https://platform.openai.com/docs/api-reference/chat (`/chat/completions`, `/models`), not streaming.
"""

import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra.errors import Permanent, Transient
from schemas.chat import ChatPrompt, Usage
from schemas.dead_letters import Reason
from schemas.event import now
from workers.inference.backends.backend import Answer
from workers.inference.cite import citations_in
from workers.inference.settings import OpenAISettings

DEPENDENCY = "inference"
CONNECT_TIMEOUT_S = 5.0
_WAIT_AND_RETRY = frozenset({408, 409, 425, 429})
"""Client errors that another try can mend: time-out, conflict, too early, too many requests (RFC 9110, RFC 6585)."""
_NOT_ANSWERED = ("do not answer", "does not answer", "don't answer", "doesn't answer", "not in the sources")
_REASONING_END = "</think>"
"""DeepSeek R1 and its distills think aloud before it, unless the server takes that part away."""

_FENCE = re.compile(r"<<<(?:END )?SOURCE \d+ [0-9a-f]{16}>>>")
"""The lines between which prompts hold their sources: small models repeat them (seen with SmolLM2-135M)."""


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Message(_Lenient):
    content: str | None = None


class _Choice(_Lenient):
    message: _Message
    finish_reason: str | None = None


class _Tokens(_Lenient):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Completion(_Lenient):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Tokens | None = None


class _Model(_Lenient):
    id: str


class _Models(_Lenient):
    data: list[_Model] = Field(min_length=1)


_Shape = TypeVar("_Shape", _Completion, _Models)


class OpenAIBackend:
    """A served language model. One HTTP client with kept connections for all prompts."""

    name = "openai"

    def __init__(self, settings: OpenAISettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        self._model = settings.model
        headers = {}
        if settings.api_key is not None:
            headers["Authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
        self._client = httpx.AsyncClient(base_url=endpoint(settings.url), headers=headers, transport=transport)

    @property
    def model(self) -> str:
        """The model asked for; empty until the server was first asked for its list, if the settings name none."""
        return self._model

    async def answer(self, prompt: ChatPrompt) -> Answer:
        """Return the model's answer, its [n] markers as citations.

        Raises Transient (unreachable, overloaded, time-out, an answer that is no completion) or Permanent (the server
        refuses the request: wrong key, unknown model, prompt too long).
        """
        if not self._model:
            self._model = (await self._call("GET", "models", None, _Models, prompt.request.deadline)).data[0].id
        completion = await self._call(
            "POST", "chat/completions", self._body(prompt), _Completion, prompt.request.deadline
        )
        choice = completion.choices[0]
        text = _spoken(choice.message.content or "")
        if not text:
            raise Transient(DEPENDENCY, f"an empty answer, finish reason {choice.finish_reason}")
        citations = citations_in(text, prompt.passages)
        usage = completion.usage or _Tokens()
        return Answer(
            text,
            citations,
            abstained=not citations and bool(prompt.passages) and any(said in text.lower() for said in _NOT_ANSWERED),
            usage=Usage(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens),
            finish_reason=choice.finish_reason or "stop",
        )

    async def close(self) -> None:
        """Close the kept connections."""
        await self._client.aclose()

    def _body(self, prompt: ChatPrompt) -> dict[str, Any]:
        generation = prompt.request.generation
        temperature = generation.temperature
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [message.model_dump() for message in prompt.messages],
            "temperature": self._settings.temperature if temperature is None else temperature,
            "max_tokens": generation.max_tokens or self._settings.max_tokens,
            "stream": False,
        }
        if generation.stop:
            body["stop"] = list(generation.stop)
        return body

    async def _call(
        self, method: str, path: str, body: dict[str, Any] | None, shape: type[_Shape], deadline: datetime
    ) -> _Shape:
        left = min(self._settings.timeout_s, (deadline - now()).total_seconds())
        if left <= 0:
            raise Transient(DEPENDENCY, "no time left before the deadline")
        timeout = httpx.Timeout(left, connect=min(left, CONNECT_TIMEOUT_S))
        try:
            response = await self._client.request(method, path, json=body, timeout=timeout)
        except httpx.TransportError as error:
            raise Transient(DEPENDENCY, type(error).__name__) from error
        _raise_for(response)
        try:
            return shape.model_validate_json(response.content)
        except ValidationError as error:
            # A proxy's error page under 200, or a server that is starting.
            raise Transient(DEPENDENCY, f"{path}: not a {shape.__name__.strip('_').lower()}") from error


def endpoint(url: str) -> str:
    """Return the address that paths are joined to: `url` with a final slash, `/v1` added where it has no path."""
    address = url.rstrip("/")
    return f"{address}/" if urlsplit(address).path else f"{address}/v1/"


def _raise_for(response: httpx.Response) -> None:
    status = response.status_code
    if status < 400:  # noqa: PLR2004
        return
    # The body is not quoted: servers repeat the prompt in it, and details reach logs.
    detail = f"{response.request.method} {response.request.url.path} answered {status}"
    if status >= 500 or status in _WAIT_AND_RETRY:  # noqa: PLR2004
        raise Transient(DEPENDENCY, detail, retry_after=_retry_after(response))
    raise Permanent(Reason.REFUSED_BY_SINK, detail)


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait by `Retry-After`: a number or a date (RFC 9110, section 10.2.3). None if absent or malformed."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - now()).total_seconds())
    except (ValueError, TypeError):
        return None


def _spoken(text: str) -> str:
    return _FENCE.sub("", text.rpartition(_REASONING_END)[2]).strip()
