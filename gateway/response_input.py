"""What a request for a response carries: messages, calls of functions, and what they returned.

https://platform.openai.com/docs/api-reference/responses/create
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from gateway.asking import MAX_CONTENT
from gateway.calling import (
    MAX_TOOLS,
    AllowedTools,
    DeclaredFunction,
    Mode,
    NamedFunction,
    NamedTool,
    NamedTools,
    Tool,
    Tooled,
)
from gateway.message_input import Content, joined
from gateway.problems import UNREADABLE
from schemas.chat import ChatMessage, FunctionCall, Generation, ToolCall

MAX_ITEMS = 2_048
"""As many as a chat completion has messages."""
_READ_PAST = ("reasoning",)
"""Kinds of items that clients send back from earlier answers, and that no model here could make anything of."""
_UNKNOWN = "[unreadable]"


class InputMessage(BaseModel):
    """A message of the input."""

    type: Literal["message"] | None = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Content

    def plain(self) -> ChatMessage:
        """Return it as the log carries it."""
        return ChatMessage(role="system" if self.role == "developer" else self.role, content=joined(self.content))


class InputCall(BaseModel):
    """A function that the model wanted called, in an earlier response."""

    type: Literal["function_call"]
    call_id: str = Field(min_length=1, max_length=200)
    name: str = Field(min_length=1, max_length=64)
    arguments: str = Field(max_length=MAX_CONTENT)


class InputResult(BaseModel):
    """What a function returned."""

    type: Literal["function_call_output"]
    call_id: str = Field(min_length=1, max_length=200)
    output: Content


class UnreadableItem(BaseModel):
    """Any other item: it is refused by its kind."""

    type: Any = None

    @model_validator(mode="before")
    @classmethod
    def _refused(cls, given: Any) -> Any:
        kind = given.get("type") if isinstance(given, dict) else type(given).__name__
        raise PydanticCustomError(
            UNREADABLE,
            "items of type {kind} cannot be read here: send messages, function_call and function_call_output",
            {"kind": repr(str(kind)[:40])},
        )


def _kind(given: Any) -> str:
    kind = given.get("type") or "message" if isinstance(given, dict) else getattr(given, "type", _UNKNOWN)
    return str(kind) if kind in ("message", "function_call", "function_call_output") else _UNKNOWN


InputItem = Annotated[
    Annotated[InputMessage, Tag("message")]
    | Annotated[InputCall, Tag("function_call")]
    | Annotated[InputResult, Tag("function_call_output")]
    | Annotated[UnreadableItem, Tag(_UNKNOWN), WithJsonSchema({"not": {}})],
    Discriminator(_kind),
]


def _listed(given: object) -> object:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if isinstance(given, list):
        return [each for each in given if not (isinstance(each, dict) and each.get("type") in _READ_PAST)]
    return given


Input = Annotated[
    list[InputItem],
    Field(min_length=1, max_length=MAX_ITEMS),
    BeforeValidator(_listed, json_schema_input_type=str | list[InputItem]),
]
"""A question, or the items of a conversation whose last is one."""


def messages_of(items: Sequence[InputMessage | InputCall | InputResult | UnreadableItem]) -> list[ChatMessage]:
    """Return the items as the log carries them: the calls that follow one another are one turn of the assistant's."""
    messages: list[ChatMessage] = []
    for item in items:
        match item:
            case InputMessage():
                messages.append(item.plain())
            case InputCall():
                call = ToolCall(id=item.call_id, function=FunctionCall(name=item.name, arguments=item.arguments))
                if not messages or messages[-1].role != "assistant":
                    messages.append(ChatMessage(role="assistant", content=""))
                messages[-1] = messages[-1].model_copy(update={"tool_calls": (*messages[-1].tool_calls, call)})
            case InputResult():
                messages.append(ChatMessage(role="tool", content=joined(item.output), tool_call_id=item.call_id))
    return messages


class OfFunction(BaseModel):
    """Says that a tool is a function: there are no others here."""

    type: Literal["function"]


class FlatTool(DeclaredFunction, OfFunction):
    """A function that the asking application can call."""


class FlatChoice(NamedFunction, OfFunction):
    """The function that is to be called."""


class FlatAllowed(BaseModel):
    """The tools that may be called, of those that are declared."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[FlatChoice] = Field(min_length=1, max_length=MAX_TOOLS)


class ResponseTools(BaseModel):
    """The part of a request that speaks of tools."""

    tools: list[FlatTool] | None = Field(default=None, max_length=MAX_TOOLS)
    tool_choice: Mode | FlatChoice | FlatAllowed | None = None
    parallel_tool_calls: bool | None = None

    def with_tools(self, generation: Generation) -> Generation:
        """Return `generation` with the tools, in the words that backends know. Raises Problem."""
        return Tooled(
            tools=[
                Tool(type="function", function=DeclaredFunction(**tool.model_dump(exclude={"type"})))
                for tool in self.tools or ()
            ],
            tool_choice=_choice(self.tool_choice),
            parallel_tool_calls=self.parallel_tool_calls,
        ).with_tools(generation)


def _choice(given: Mode | FlatChoice | FlatAllowed | None) -> Mode | NamedTool | AllowedTools | None:
    """Return a choice in the words of the chat completions."""
    if isinstance(given, FlatAllowed):
        named = [NamedTool(type="function", function=NamedFunction(name=each.name)) for each in given.tools]
        return AllowedTools(type="allowed_tools", allowed_tools=NamedTools(mode=given.mode, tools=named))
    if isinstance(given, FlatChoice):
        return NamedTool(type="function", function=NamedFunction(name=given.name))
    return given
