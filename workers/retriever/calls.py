"""Functions that the asking application offers: what their declarations, calls and results take of a prompt."""

import json
from collections.abc import Sequence

from schemas.chat import ChatMessage, ChatRequest
from workers.retriever.budget import MESSAGE_TOKENS, Budget

Round = list[ChatMessage]
"""A question with all that followed it: a call without its result, or a result without its call, is refused by most
templates, so that rounds are kept whole or not at all."""


def cost_of(message: ChatMessage, budget: Budget) -> int:
    """Tokens that a message is taken to have, its calls included."""
    called = "".join(call.function.name + call.function.arguments for call in message.tool_calls)
    return budget.cost(message.content + called)


def declared(request: ChatRequest, budget: Budget) -> int:
    """Tokens that the declarations of the functions are taken to have, and at most half of the budget."""
    return min(budget.tokens // 2, sum(budget.cost(json.dumps(tool)) for tool in request.generation.tools))


def parted(messages: Sequence[ChatMessage]) -> tuple[Sequence[ChatMessage], Sequence[ChatMessage]]:
    """Return the messages up to the question, and what followed it: calls of functions with their results, or words of
    the assistant's that are to be gone on with.
    """
    at = max((at for at, message in enumerate(messages) if message.role == "user"), default=len(messages))
    since = [message for message in messages[at + 1 :] if message.role != "system"]
    return messages[: at + 1], since if any(message.role == "tool" for message in since) else joined(since)


def joined(messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
    """Return messages of one role as one: templates refuse two in a row."""
    if len(messages) < 2:  # noqa: PLR2004
        return messages
    return [messages[0].model_copy(update={"content": "\n\n".join(message.content for message in messages)})]


def fitting(since: Sequence[ChatMessage], tokens: int, budget: Budget) -> Sequence[ChatMessage]:
    """Return the messages with all but calls cut to equal shares of `tokens`, where they take more."""
    cuttable = sum(not message.tool_calls for message in since)
    if sum(cost_of(message, budget) for message in since) <= tokens or not cuttable:
        return since
    left = tokens - sum(cost_of(message, budget) for message in since if message.tool_calls)
    share = max(MESSAGE_TOKENS + 1, left // cuttable)
    return [
        message if message.tool_calls else message.model_copy(update={"content": budget.fit(message.content, share)})
        for message in since
    ]


def rounds(messages: Sequence[ChatMessage]) -> list[Round]:
    """Return the questions, each with all that followed it. What a user said in a row is one question."""
    found: list[Round] = []
    for message in messages:
        if message.role == "user" and found and found[-1][-1].role == "user":
            found[-1] = list(joined([*found[-1], message]))
        elif message.role == "user":
            found.append([message])
        elif found and message.role != "system":
            found[-1].append(message)
    return found
