"""What every backend offers."""

from dataclasses import dataclass, field
from typing import Protocol

from schemas.chat import ChatPrompt, Citation, Usage


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in words, with what it rests on."""

    text: str
    """Cites passages as [n]."""
    citations: tuple[Citation, ...] = ()
    """In the order of their first marker in the text."""
    abstained: bool = False
    """The backend says that the sources do not answer the question."""
    support: float | None = None
    """Topical support by the sources, 0 to 1; None where the backend does not estimate it."""
    usage: Usage = field(default_factory=Usage)
    finish_reason: str = "stop"


class Backend(Protocol):
    """Answers a prompt.

    `answer` raises `Transient` if another try may succeed and `Permanent` if none will. It may be called for several
    prompts at once and must not block the event loop.
    """

    @property
    def name(self) -> str:
        """What stands in `served_by`."""
        ...

    @property
    def model(self) -> str:
        """What stands in `model`; empty while it is not known."""
        ...

    async def answer(self, prompt: ChatPrompt) -> Answer:
        """Return the answer to `prompt`."""
        ...

    async def close(self) -> None:
        """Free what the backend holds."""
        ...
