"""What an OpenAI-compatible server takes, and what it means by a status."""

import re
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import orjson
from pydantic import ValidationError

from infra.errors import Permanent, Transient
from schemas.dead_letters import Reason
from schemas.event import now
from workers.inference.backends.backend import FORMAT_NOT_SUPPORTED, TOOLS_NOT_SUPPORTED, Faulted, RequestRefused
from workers.inference.backends.wire import Fault, Refusal

CONTEXT_EXCEEDED = "context_length_exceeded"
REQUEST_REJECTED = "request_rejected"
_WAIT_AND_RETRY = frozenset({408, 409, 425, 429})
"""Client errors that another try can mend: time-out, conflict, too early, too many requests (RFC 9110, RFC 6585)."""
_OUT_OF_REACH = frozenset({502, 503, 504})
"""Server errors that say that nobody was there to answer, or too many asked."""
_AT_FAULT = frozenset({400, 413, 422})
"""Client errors that speak of this request; the others (wrong key, unknown model) would meet any."""
_TOO_LONG = ("context_length", "context length", "context size", "exceed_context", "too long", "maximum context")
"""OpenAI and vLLM, llama.cpp, Ollama and MAX, each in its own words."""
_NO_TOOLS = ("does not support tools", "tool-call-parser", "tools param requires")
"""Ollama, vLLM and llama.cpp of a model, or a start, without tools."""
_NO_FORMAT = ("enable-structured-output", "json schema", "json_schema", "grammar")
"""MAX of a start without it; Ollama, llama.cpp and vLLM of a schema that they cannot keep to."""
_PARAMETERS = re.compile(r"\b(max_tokens|temperature|top_p|seed|stop|response_format|tool_choice|tools|roles?)\b")
"""What a refusal may speak of: only words of ours are told on."""
_UNKNOWN = 500
"""What an error without a status is taken for: another try may mend it."""
_MOST_READ = 64 * 1024


def passed_on(body: dict[str, Any]) -> bytes:
    """Return what is sent to a server. Raises RequestRefused for what cannot be: a number beyond 64 bits.

    The gateway refuses those; the log may hold what came by another door.
    """
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise RequestRefused(REQUEST_REJECTED, "a number of this request cannot be passed on") from error


async def raise_for(response: httpx.Response, dependency: str) -> None:
    """Raise Transient, Permanent or RequestRefused as the status says; nothing for a good one."""
    status = response.status_code
    if status < 400:  # noqa: PLR2004
        return
    # The body is not quoted: servers repeat the prompt in it, and details reach logs.
    detail = f"{response.request.method} {response.request.url.path} answered {status}"
    words = await _words(response) if status in _AT_FAULT else ""
    raise _meant(status, words, dependency, detail, _retry_after(response))


def told_within(fault: Fault | str, dependency: str) -> Exception:
    """Return what an error means that stands within an answer, under a good status.

    vLLM begins a stream before it has read the whole request: what is wrong with that, it says there.
    """
    fault = Fault(message=fault) if isinstance(fault, str) else fault
    detail = "the server reports an error within the answer"
    return _meant(fault.status or _UNKNOWN, fault.words, dependency, detail)


def _meant(
    status: int, words: str, dependency: str, detail: str, retry_after: float | None = None
) -> Transient | Permanent | RequestRefused:
    if status in _OUT_OF_REACH or status in _WAIT_AND_RETRY:
        return Transient(dependency, detail, retry_after=retry_after)
    if status >= 500:  # noqa: PLR2004
        return Faulted(dependency, detail, retry_after=retry_after)
    if status not in _AT_FAULT:
        return Permanent(Reason.REFUSED_BY_SINK, detail)
    return _refused(status, words)


def _refused(status: int, words: str) -> RequestRefused:
    if any(said in words for said in _TOO_LONG):
        return RequestRefused(CONTEXT_EXCEEDED, "the prompt is longer than the model can read: shorten it or ask anew")
    if any(said in words for said in _NO_TOOLS):
        return RequestRefused(TOOLS_NOT_SUPPORTED, "the model server takes no tools for this model: send none")
    if any(said in words for said in _NO_FORMAT):
        return RequestRefused(FORMAT_NOT_SUPPORTED, "the model server cannot keep to this response_format")
    spoken_of = _PARAMETERS.search(words)
    about = f": it speaks of {spoken_of[0]}" if spoken_of else ""
    return RequestRefused(REQUEST_REJECTED, f"the model server refuses this request ({status}){about}")


async def _words(response: httpx.Response) -> str:
    content = b""
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > _MOST_READ:
            return ""
    try:
        return Refusal.model_validate_json(content).fault.words
    except ValidationError:
        return ""


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait by `Retry-After`: a number or a date (RFC 9110, section 10.2.3). None if absent or malformed."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - now()).total_seconds())
    except (ValueError, TypeError):
        return None
