"""Messages as clients send them, and as the log carries them.

https://platform.openai.com/docs/api-reference/chat/create, `messages`. Clients replay histories that no two of them
write alike: turns without a word, refusals, functions of before there were tools. What OpenAI reads is read here.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from gateway.asking import MAX_CONTENT
from gateway.calling import MAX_TOOLS, check_calls
from gateway.problems import UNREADABLE, invalid_field
from schemas.chat import ChatMessage, FunctionCall, ToolCall

_TEXTS = frozenset({"text", "input_text", "output_text"})
_READ_PAST = frozenset({"thinking", "redacted_thinking", "reasoning"})
"""Parts that clients keep of earlier answers, and that no template has a place for."""
_KINDS = {
    "image_url": "images",
    "input_image": "images",
    "image_file": "images",
    "image": "images",
    "input_audio": "audio",
    "audio": "audio",
    "video_url": "videos",
    "video": "videos",
    "file": "files",
    "input_file": "files",
    "document": "files",
}
"""What a part that is no text holds, for the words of its refusal."""


def _read(given: Any) -> Any:
    """Return a part as text. Raises PydanticCustomError, which says what it is, for any other."""
    kind = given.get("type", "text") if isinstance(given, dict) else "text"
    if kind == "refusal":
        return {"type": "text", "text": given.get("refusal")}
    # Whatever JSON holds may stand there: not all of it can be looked up.
    what = None
    if isinstance(kind, str):
        if kind in _TEXTS:
            return given
        if kind in _READ_PAST:
            return {"type": "text", "text": ""}
        what = _KINDS.get(kind)
    raise PydanticCustomError(
        UNREADABLE,
        "{what} cannot be read here, only text: leave this part out",
        {"what": what or f"parts of type {str(kind)[:40]!r}"},
    )


class TextPart(BaseModel):
    """A part of a message; only text can be read, and what the assistant refused with."""

    type: Literal["text", "input_text", "output_text"] = "text"
    text: str = Field(max_length=MAX_CONTENT)


Part = Annotated[TextPart, BeforeValidator(_read)]


def _form(given: Any) -> str:
    return "[parts]" if isinstance(given, list) else "[text]"


Content = Annotated[
    Annotated[str, Field(max_length=MAX_CONTENT), Tag("[text]")] | Annotated[list[Part], Tag("[parts]")],
    Discriminator(_form),
]
"""A text, or its parts."""


def joined(content: str | Sequence[TextPart] | None) -> str:
    """Return the text of a message."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text for part in content if part.text)


class CompletionMessage(BaseModel):
    """A message of OpenAI's shape. `developer` is today's name of `system`, `function` yesterday's of `tool`."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Content | None = None
    refusal: str | None = Field(default=None, max_length=MAX_CONTENT)
    """Of the assistant: what it said in place of an answer."""
    name: str | None = Field(default=None, max_length=200)
    """Of a function: which one returned."""
    tool_calls: list[ToolCall] | None = Field(default=None, max_length=MAX_TOOLS)
    """Of the assistant."""
    function_call: FunctionCall | None = None
    """Of the assistant, as it called before there were tools."""
    tool_call_id: str | None = Field(default=None, max_length=200)
    """Of a tool."""

    def check(self, at: int) -> None:
        """Raise Problem for what message `at` lacks."""
        place = f"/messages/{at}"
        if self.content is None and self.role in ("system", "developer", "user"):
            raise invalid_field(f"{place}/content", f"a message of role {self.role} has content")
        if len(joined(self.content)) > MAX_CONTENT:
            raise invalid_field(f"{place}/content", f"a message has at most {MAX_CONTENT} characters")
        if self.role == "tool" and self.tool_call_id is None:
            raise invalid_field(f"{place}/tool_call_id", "a message of role tool names the call that it answers")
        if self.role == "function" and not self.name:
            raise invalid_field(f"{place}/name", "a message of role function names the function")

    def plain(self, at: int) -> ChatMessage:
        """Return the message as the log carries it; `at` makes the id of a call that has none of its own."""
        content = joined(self.content)
        if self.role != "assistant":
            role = "system" if self.role == "developer" else "tool" if self.role == "function" else self.role
            return ChatMessage(
                role=role, content=content, tool_call_id=(self.tool_call_id or "") if self.role == "tool" else ""
            )
        calls = tuple(self.tool_calls or ())
        if self.function_call is not None and not calls:
            calls = (ToolCall(id=_call_id(at), function=self.function_call),)
        return ChatMessage(role="assistant", content=content or self.refusal or "", tool_calls=calls)


def messages_of(messages: Sequence[CompletionMessage]) -> list[ChatMessage]:
    """Return the messages as the log carries them, with one that asks. Raises Problem."""
    plain: list[ChatMessage] = []
    places: list[int] = []
    for at, message in enumerate(messages):
        message.check(at)
        told = message.plain(at)
        if message.role == "function":
            call = _called(plain, message.name or "")
            if call is None:
                # Nobody has asked for it: OpenAI takes it all the same, and templates need the call before it.
                call = ToolCall(id=_call_id(at), function=FunctionCall(name=message.name or "", arguments="{}"))
                plain.append(ChatMessage(role="assistant", content="", tool_calls=(call,)))
                places.append(at)
            told = told.model_copy(update={"tool_call_id": call.id})
        plain.append(told)
        places.append(at)
    check_calls(plain, "messages", places)
    return asking(plain, "messages")


def asking(messages: Sequence[ChatMessage], field: str) -> list[ChatMessage]:
    """Return the messages that say, call or return something, one of them the user's.

    Where no user has said a word, what a system message says is asked (some clients have titles made so), or what was
    last said at all, or returned: agents forget the oldest messages of a long run. Raises Problem, which names `field`,
    if nobody has said anything.
    """
    kept = [message for message in messages if message.content.strip() or message.tool_calls or message.role == "tool"]
    if any(message.role == "user" for message in kept):
        return kept
    for role in ("system", "assistant"):
        for at in reversed(range(len(kept))):
            if kept[at].role == role and not kept[at].tool_calls:
                kept[at] = ChatMessage(role="user", content=kept[at].content)
                return kept
    returned = next((message.content for message in reversed(kept) if message.content.strip()), None)
    if returned is not None:
        return [ChatMessage(role="user", content=returned), *kept]
    raise invalid_field(f"/{field}", "nothing is asked: no message says a word")


def _call_id(at: int) -> str:
    return f"call_{at}"


def _called(messages: Sequence[ChatMessage], name: str) -> ToolCall | None:
    """Return the call of function `name` that the message before made."""
    calls = messages[-1].tool_calls if messages else ()
    return next((call for call in calls if call.function.name == name), None)
