"""What a request for a response carries: messages, calls of functions, and what they returned.

https://platform.openai.com/docs/api-reference/responses/create
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag

from gateway.asking import MAX_CONTENT
from gateway.calling import MAX_TOOLS, DeclaredFunction, NamedFunction, NamedTool, Tool, Tooled
from schemas.chat import ChatMessage, FunctionCall, Generation, ToolCall

MAX_ITEMS = 400


class InputText(BaseModel):
    """A part of a message; only text can be read."""

    type: Literal["input_text", "output_text", "text"]
    text: str = Field(max_length=MAX_CONTENT)


Content: TypeAlias = Annotated[str, Field(max_length=MAX_CONTENT)] | list[InputText]


def _plain(content: str | list[InputText]) -> str:
    return content if isinstance(content, str) else "\n".join(part.text for part in content)


class InputMessage(BaseModel):
    """A message of the input."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Content


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


def _kind(given: Any) -> str:
    kind = given.get("type", "message") if isinstance(given, dict) else getattr(given, "type", "message")
    return str(kind)


InputItem = Annotated[
    Annotated[InputMessage, Tag("message")]
    | Annotated[InputCall, Tag("function_call")]
    | Annotated[InputResult, Tag("function_call_output")],
    Discriminator(_kind),
]


def _listed(given: object) -> object:
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


Input = Annotated[
    list[InputItem],
    Field(min_length=1, max_length=MAX_ITEMS),
    BeforeValidator(_listed, json_schema_input_type=str | list[InputItem]),
]
"""A question, or the items of a conversation whose last is one."""


def messages_of(items: Sequence[InputMessage | InputCall | InputResult]) -> list[ChatMessage]:
    """Return the items as the log carries them: the calls that follow one another are one turn of the assistant's."""
    messages: list[ChatMessage] = []
    for item in items:
        match item:
            case InputMessage(role=role):
                messages.append(
                    ChatMessage(role="system" if role == "developer" else role, content=_plain(item.content))
                )
            case InputCall():
                call = ToolCall(id=item.call_id, function=FunctionCall(name=item.name, arguments=item.arguments))
                if not messages or messages[-1].role != "assistant":
                    messages.append(ChatMessage(role="assistant", content=""))
                messages[-1] = messages[-1].model_copy(update={"tool_calls": (*messages[-1].tool_calls, call)})
            case InputResult():
                messages.append(ChatMessage(role="tool", content=_plain(item.output), tool_call_id=item.call_id))
    return messages


class OfFunction(BaseModel):
    """Says that a tool is a function: there are no others here."""

    type: Literal["function"]


class FlatTool(DeclaredFunction, OfFunction):
    """A function that the asking application can call."""


class FlatChoice(NamedFunction, OfFunction):
    """The function that is to be called."""


class ResponseTools(BaseModel):
    """The part of a request that speaks of tools."""

    tools: list[FlatTool] | None = Field(default=None, max_length=MAX_TOOLS)
    tool_choice: Literal["none", "auto", "required"] | FlatChoice | None = None
    parallel_tool_calls: bool | None = None

    def with_tools(self, generation: Generation) -> Generation:
        """Return `generation` with the tools, in the words that backends know. Raises Problem."""
        choice = self.tool_choice
        return Tooled(
            tools=[
                Tool(type="function", function=DeclaredFunction(**tool.model_dump(exclude={"type"})))
                for tool in self.tools or ()
            ],
            tool_choice=NamedTool(type="function", function=NamedFunction(name=choice.name))
            if isinstance(choice, FlatChoice)
            else choice,
            parallel_tool_calls=self.parallel_tool_calls,
        ).with_tools(generation)
