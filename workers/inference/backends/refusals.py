"""What a status of an OpenAI-compatible server means."""

from email.utils import parsedate_to_datetime

import httpx
from pydantic import ValidationError

from infra.errors import Permanent, Transient
from schemas.dead_letters import Reason
from schemas.event import now
from workers.inference.backends.backend import RequestRefused
from workers.inference.backends.wire import Refusal

CONTEXT_EXCEEDED = "context_length_exceeded"
REQUEST_REFUSED = "backend_refused"
_WAIT_AND_RETRY = frozenset({408, 409, 425, 429})
"""Client errors that another try can mend: time-out, conflict, too early, too many requests (RFC 9110, RFC 6585)."""
_AT_FAULT = frozenset({400, 413, 422})
"""Client errors that speak of this request; the others (wrong key, unknown model) would meet any."""
_TOO_LONG = ("context_length", "context length", "context size", "exceed_context", "too long", "maximum context")
"""OpenAI and vLLM, llama.cpp, Ollama and MAX, each in its own words."""
_MOST_READ = 64 * 1024


async def raise_for(response: httpx.Response, dependency: str) -> None:
    """Raise Transient, Permanent or RequestRefused as the status says; nothing for a good one."""
    status = response.status_code
    if status < 400:  # noqa: PLR2004
        return
    # The body is not quoted: servers repeat the prompt in it, and details reach logs.
    detail = f"{response.request.method} {response.request.url.path} answered {status}"
    if status >= 500 or status in _WAIT_AND_RETRY:  # noqa: PLR2004
        raise Transient(dependency, detail, retry_after=_retry_after(response))
    if status not in _AT_FAULT:
        raise Permanent(Reason.REFUSED_BY_SINK, detail)
    words = await _words(response)
    if any(said in words for said in _TOO_LONG):
        raise RequestRefused(CONTEXT_EXCEEDED, "the prompt is longer than the model can read: shorten it or ask anew")
    raise RequestRefused(REQUEST_REFUSED, f"the model server refuses this request ({status})")


async def _words(response: httpx.Response) -> str:
    content = b""
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > _MOST_READ:
            return ""
    try:
        return Refusal.model_validate_json(content).words
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
