"""Tools in the shape of OpenAI's chat completions: passed on to the model and back, and never acted on here.

https://platform.openai.com/docs/guides/function-calling
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, Field

from gateway.json_values import JsonSchema
from gateway.problems import invalid_field
from schemas.chat import ChatMessage, Generation

MAX_TOOLS = 128
"""OpenAI's own bound."""


class DeclaredFunction(BaseModel):
    """A function that the asking application can call."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    parameters: JsonSchema | None = None
    """JSON schema of the arguments."""
    strict: bool | None = None


class Tool(BaseModel):
    """A tool that the model may ask to have called; only functions are."""

    type: Literal["function"]
    function: DeclaredFunction


class NamedFunction(BaseModel):
    """A function by its name."""

    name: str


class NamedTool(BaseModel):
    """The tool that is to be called."""

    type: Literal["function"]
    function: NamedFunction


class Tooled(BaseModel):
    """The part of a request that speaks of tools."""

    tools: list[Tool] | None = Field(default=None, max_length=MAX_TOOLS)
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None

    def with_tools(self, generation: Generation) -> Generation:
        """Return `generation` with the tools. Raises Problem for a choice among none, or of one that is not there."""
        tools, choice = self.tools or [], self.tool_choice
        if not tools and choice not in (None, "none", "auto"):
            raise invalid_field("/tool_choice", "there are no tools to choose from")
        if isinstance(choice, NamedTool) and choice.function.name not in {tool.function.name for tool in tools}:
            raise invalid_field("/tool_choice", "no tool of the request is called so")
        if not tools:
            return generation
        return generation.model_copy(
            update={
                "tools": tuple(tool.model_dump(exclude_none=True) for tool in tools),
                "tool_choice": choice.model_dump() if isinstance(choice, NamedTool) else choice,
                "parallel_tool_calls": self.parallel_tool_calls,
            }
        )


def check_calls(messages: Sequence[ChatMessage], field: str = "messages") -> None:
    """Raise Problem, which names `field`, unless each call is answered by a message of role `tool` right after it, and
    each such message answers a call: what else comes would be refused by the model's template, in words that help
    nobody.
    """
    open_calls: dict[str, int] = {}
    for at, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id not in open_calls:
                raise invalid_field(_at(field, at, "tool_call_id"), "answers no call of the assistant's message before")
            del open_calls[message.tool_call_id]
            continue
        if open_calls:
            call, asked_at = next(iter(open_calls.items()))
            raise invalid_field(_at(field, asked_at, "tool_calls"), f"the call {call[:80]!r} has no answer")
        open_calls = {call.id: at for call in message.tool_calls}


def _at(field: str, at: int, inside: str) -> str:
    """Return where a message is wrong. Only the messages of the chat completions stand in the body one by one."""
    return f"/messages/{at}/{inside}" if field == "messages" else f"/{field}"
