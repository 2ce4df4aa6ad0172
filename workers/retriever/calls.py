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
    """Return the messages up to the question, and the calls of functions for it with their results."""
    at = max((at for at, message in enumerate(messages) if message.role == "user"), default=len(messages))
    since = messages[at + 1 :]
    return (messages[: at + 1], since) if any(message.role == "tool" for message in since) else (messages, ())


def fitting(since: Sequence[ChatMessage], tokens: int, budget: Budget) -> Sequence[ChatMessage]:
    """Return the messages with the results of functions cut to equal shares of `tokens`, where they take more."""
    results = sum(message.role == "tool" for message in since)
    if sum(cost_of(message, budget) for message in since) <= tokens or not results:
        return since
    left = tokens - sum(cost_of(message, budget) for message in since if message.role != "tool")
    share = max(MESSAGE_TOKENS + 1, left // results)
    return [
        message.model_copy(update={"content": budget.fit(message.content, share)})
        if message.role == "tool"
        else message
        for message in since
    ]


def rounds(messages: Sequence[ChatMessage]) -> list[Round]:
    """Return the questions before the last one, each with all that followed it."""
    found: list[Round] = []
    for message in messages:
        if message.role == "user":
            found.append([])
        if found and message.role != "system":
            found[-1].append(message)
    return found[:-1]
