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


class NamedTools(BaseModel):
    """Some of the tools, and whether one of them is to be called."""

    mode: Literal["auto", "required"]
    tools: list[NamedTool] = Field(min_length=1, max_length=MAX_TOOLS)


class AllowedTools(BaseModel):
    """The tools that may be called, of those that are declared."""

    type: Literal["allowed_tools"]
    allowed_tools: NamedTools


Mode = Literal["none", "auto", "required"]


class Tooled(BaseModel):
    """The part of a request that speaks of tools."""

    tools: list[Tool] | None = Field(default=None, max_length=MAX_TOOLS)
    tool_choice: Mode | NamedTool | AllowedTools | None = None
    parallel_tool_calls: bool | None = None
    functions: list[DeclaredFunction] | None = Field(default=None, max_length=MAX_TOOLS, deprecated=True)
    """`tools` as they were called before; then the answer has a `function_call` in place of `tool_calls`."""
    function_call: Literal["none", "auto"] | NamedFunction | None = Field(default=None, deprecated=True)

    @property
    def by_functions(self) -> bool:
        """Whether the answer is to speak of functions, as before there were tools."""
        return bool(self.__dict__["functions"]) and not self.tools

    def _as_tools(self) -> "Tooled":
        """Return the same in today's words; functions are called one at a time."""
        functions, call = self.__dict__["functions"] or (), self.__dict__["function_call"]
        choice = NamedTool(type="function", function=call) if isinstance(call, NamedFunction) else call
        return Tooled(
            tools=[Tool(type="function", function=function) for function in functions],
            tool_choice=choice,
            parallel_tool_calls=False,
        )

    def _allowed(self, allowed: NamedTools) -> "Tooled":
        """Return the same with no other tools than those. Raises Problem for one that is not there."""
        names = {tool.function.name for tool in allowed.tools}
        tools = [tool for tool in self.tools or () if tool.function.name in names]
        if len(tools) < len(names):
            raise invalid_field("/tool_choice", "no tool of the request is called so")
        return Tooled(tools=tools, tool_choice=allowed.mode, parallel_tool_calls=self.parallel_tool_calls)

    def with_tools(self, generation: Generation) -> Generation:
        """Return `generation` with the tools. Raises Problem for a choice among none, or of one that is not there."""
        if self.by_functions:
            return self._as_tools().with_tools(generation)
        if isinstance(self.tool_choice, AllowedTools):
            return self._allowed(self.tool_choice.allowed_tools).with_tools(generation)
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


def check_calls(messages: Sequence[ChatMessage], field: str = "messages", places: Sequence[int] | None = None) -> None:
    """Raise Problem, which names `field`, unless each call is answered by a message of role `tool` right after it, and
    each such message answers a call: what else comes would be refused by the model's template, in words that help
    nobody. `places`: where the messages stand in the request, if some were added.
    """
    open_calls: dict[str, int] = {}
    for at, message in zip(places or range(len(messages)), messages, strict=True):
        if message.role == "tool":
            if message.tool_call_id not in open_calls:
                raise invalid_field(_at(field, at, "tool_call_id"), "answers no call of the assistant's message before")
            del open_calls[message.tool_call_id]
            continue
        _all_answered(open_calls, field)
        open_calls = {call.id: at for call in message.tool_calls}
    _all_answered(open_calls, field)


def _all_answered(open_calls: dict[str, int], field: str) -> None:
    for call, at in open_calls.items():
        raise invalid_field(_at(field, at, "tool_calls"), f"the call {call[:80]!r} has no answer")


def _at(field: str, at: int, inside: str) -> str:
    """Return where a message is wrong. Only the messages of the chat completions stand in the body one by one."""
    return f"/messages/{at}/{inside}" if field == "messages" else f"/{field}"
