"""What every backend offers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from infra.errors import Transient
from schemas.chat import ChatPrompt, Citation, ToolCall, Usage

FORMAT_NOT_SUPPORTED = "response_format_not_supported"
TOOLS_NOT_SUPPORTED = "tools_not_supported"
"""Codes of `RequestRefused` for what some backends can do and others cannot."""

Say = Callable[[str], None]
"""Takes the next piece of an answer while it is written; an empty piece is a sign of life."""


def silently(_piece: str) -> None:
    """Say nothing: for an asker who waits for the whole answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in words, with what it rests on."""

    text: str
    """Cites passages as [n]. Empty where there are tool calls, and where the model ended before its first word."""
    citations: tuple[Citation, ...] = ()
    """In the order of their first marker in the text."""
    abstained: bool = False
    """The backend says that the sources do not answer the question."""
    support: float | None = None
    """Topical support by the sources, 0 to 1; None where the backend does not estimate it."""
    usage: Usage = field(default_factory=Usage)
    finish_reason: str = "stop"
    model: str = ""
    """Model that wrote it, where that is not the backend's own (an adapter); empty otherwise."""
    tool_calls: tuple[ToolCall, ...] = ()
    """What the model wants called, for the asker to call."""
    adapter: str = ""
    """The same where it is an adapter or another model than the backend's own; empty otherwise."""


class Faulted(Transient):
    """The server answered, with an error of its own: for this question, or for any. Another try may succeed."""


class NothingSaid(Transient):
    """The server answered, and the model said nothing though there were sources. Another one may have more to say."""


class RequestRefused(Exception):  # noqa: N818 - an answer to the asker, not a fault of the backend
    """The request itself cannot be served, by this backend or another of its kind.

    `code` is stable, `detail` a sentence for the asker, without content of the request.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Backend(Protocol):
    """Answers a prompt.

    `answer` raises `Transient` if another try may succeed, `Permanent` if none will, and `RequestRefused` if the
    request is at fault. It may be called for several prompts at once and must not block the event loop.
    """

    @property
    def name(self) -> str:
        """What stands in `served_by`."""
        ...

    @property
    def model(self) -> str:
        """What stands in `model`; empty while it is not known."""
        ...

    async def serves(self, model: str) -> bool:
        """Say whether it answers as `model`, its own or an adapter. Raises Transient, Permanent if it cannot tell."""
        ...

    async def names(self) -> frozenset[str]:
        """Return the models and adapters that can be asked for here now. Raises Transient, Permanent."""
        ...

    @property
    def writes(self) -> bool:
        """Whether it answers anything; False if it only quotes what was found."""
        ...

    async def answer(self, prompt: ChatPrompt, say: Say = silently) -> Answer:
        """Return the answer to `prompt`, having said it piece by piece: the pieces joined are its text.

        An answer that was not said at all may be returned too: the caller says it then.
        """
        ...

    async def close(self) -> None:
        """Free what the backend holds."""
        ...
