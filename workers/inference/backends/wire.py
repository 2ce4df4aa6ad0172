"""What an OpenAI-compatible server says, as far as it is read here.

Protocol: https://platform.openai.com/docs/api-reference/chat (`/chat/completions`, streaming; `/models`).
"""

import re

from pydantic import BaseModel, ConfigDict, Field

_STATUS = re.compile(r"[45]\d\d")


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class FunctionPiece(_Lenient):
    """A function's name and arguments, or a piece of the latter."""

    name: str | None = None
    arguments: str | None = None


class ToolPiece(_Lenient):
    """A tool call, or a piece of one."""

    index: int | None = None
    id: str | None = None
    function: FunctionPiece = FunctionPiece()


class Message(_Lenient):
    """The words of an answer, or of a piece of one, and what the model wants called."""

    content: str | None = None
    tool_calls: list[ToolPiece] | None = None


class Choice(_Lenient):
    """A whole answer."""

    message: Message
    finish_reason: str | None = None


class Tokens(_Lenient):
    """Tokens as the server counts them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Completion(_Lenient):
    """Body of an answer that is not streamed."""

    choices: list[Choice] = Field(min_length=1)
    usage: Tokens | None = None


class ChunkChoice(_Lenient):
    """A piece of an answer."""

    delta: Message = Message()
    finish_reason: str | None = None


class Fault(_Lenient):
    """The part of an error that says what is wrong, in the shapes of OpenAI, vLLM and llama.cpp."""

    message: str = ""
    code: str | int | None = None
    type: str | None = None

    @property
    def status(self) -> int | None:
        """The code, where it is a status of HTTP: of vLLM, llama.cpp and MAX it is."""
        code = str(self.code)
        return int(code) if _STATUS.fullmatch(code) else None

    @property
    def words(self) -> str:
        """All that it says, in lower case."""
        return f"{self.code or ''} {self.type or ''} {self.message}".lower()


class Chunk(_Lenient):
    """One event of a streamed answer. The last one holds the usage and no choice."""

    choices: list[ChunkChoice] = []
    usage: Tokens | None = None
    error: Fault | str | None = None
    """What went wrong once the status was sent; of vLLM also what is wrong with the request."""


class Model(_Lenient):
    """A model, or an adapter, that the server answers as."""

    id: str


class Models(_Lenient):
    """Body of `/models`."""

    data: list[Model] = Field(min_length=1)


class Refusal(_Lenient):
    """Body of an error."""

    error: Fault | str | None = None
    message: str = ""

    @property
    def fault(self) -> Fault:
        """What it says, wherever that stands."""
        return self.error if isinstance(self.error, Fault) else Fault(message=self.error or self.message)
