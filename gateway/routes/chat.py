"""Conversations: our own shape, and OpenAI's chat completions."""

from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from gateway.asking import ask
from gateway.auth import NEEDS_KEY, Caller
from gateway.connections import Held
from gateway.documenting import problems
from gateway.problems import COMPLETIONS_PATH, Code, Problem
from gateway.routes.search import ASKING, MAX_QUESTION, Answer, Filters, Question, answer_of
from infra.postgres.conversations import history
from schemas.chat import ChatMessage, ChatReply, Citation, Generation
from schemas.event import now

router = APIRouter(tags=["chat"], dependencies=[NEEDS_KEY])

DEFAULT_MODEL = "millrace"
"""Model name by which OpenAI's clients ask for whatever this installation answers with."""

MAX_MESSAGES = 200
MAX_CONTENT = 100_000


class ChatTurn(BaseModel):
    """What the user says."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"message": "What changed in the last release?"}]}
    )

    message: Question
    conversation_id: UUID | None = None
    """Continues a conversation of this workspace; any other id begins one under it."""
    top_k: int = Field(default=5, ge=1, le=100)
    filters: Filters = Filters()
    retrieve: bool = True


class ChatAnswer(Answer):
    """An answer in a conversation."""

    conversation_id: UUID


@router.post("/v1/chat", response_model=ChatAnswer, responses=problems(*ASKING))
async def chat(turn: ChatTurn, caller: Caller, held: Held) -> ChatAnswer:
    """Say something in a conversation and wait for the answer."""
    conversation = turn.conversation_id or uuid4()
    earlier: list[ChatMessage] = []
    if turn.conversation_id is not None:
        earlier = await history(held.pool, caller.workspace, conversation, held.settings.history_turns)
    reply = await ask(
        held,
        caller.workspace,
        purpose="chat",
        messages=[*earlier, ChatMessage(role="user", content=turn.message)],
        top_k=turn.top_k,
        filters=turn.filters,
        retrieve=turn.retrieve,
        conversation_id=conversation,
    )
    return ChatAnswer(**answer_of(reply).model_dump(), conversation_id=conversation)


class TextPart(BaseModel):
    """A part of a message; only text can be read."""

    type: Literal["text"]
    text: str = Field(max_length=MAX_CONTENT)


class CompletionMessage(BaseModel):
    """A message of OpenAI's shape. `developer` is today's name of `system`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[str, Field(max_length=MAX_CONTENT)] | list[TextPart]

    def plain(self) -> ChatMessage:
        """Return the message as the log carries it."""
        parts = self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)
        return ChatMessage(role="system" if self.role == "developer" else self.role, content=parts)


class CompletionRequest(BaseModel):
    """OpenAI's chat completion request; unknown fields are ignored, as their clients expect.

    https://platform.openai.com/docs/api-reference/chat/create
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": DEFAULT_MODEL, "messages": [{"role": "user", "content": "Who fixed the timeout?"}]}]
        }
    )

    model: str = Field(default=DEFAULT_MODEL, max_length=200)
    messages: list[CompletionMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: bool = False
    n: Literal[1] = 1
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stop: str | list[str] | None = None


class CompletionChoice(BaseModel):
    """The one answer."""

    index: int = 0
    message: ChatMessage
    finish_reason: str


class CompletionUsage(BaseModel):
    """Tokens as the backend counted them; 0 where it does not count."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CompletionSources(BaseModel):
    """What OpenAI's shape has no room for."""

    citations: list[Citation]
    abstained: bool
    support: float | None
    served_by: str
    conversation_id: UUID


class Completion(BaseModel):
    """OpenAI's chat completion, with the citations in `millrace`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage
    millrace: CompletionSources


@router.post(COMPLETIONS_PATH, response_model=Completion, responses=problems(*ASKING, Code.STREAMING_NOT_SUPPORTED))
async def complete(request: CompletionRequest, caller: Caller, held: Held) -> Completion:
    """Answer in OpenAI's shape, from the sources. Errors have OpenAI's body too."""
    if request.stream:
        raise Problem(Code.STREAMING_NOT_SUPPORTED)
    messages = [message.plain() for message in request.messages]
    if messages[-1].role != "user" or not 0 < len(messages[-1].content.strip()) <= MAX_QUESTION:
        fault = {
            "pointer": f"/messages/{len(messages) - 1}",
            "detail": f"the last message is the user's, with 1 to {MAX_QUESTION} characters",
        }
        raise Problem(Code.INVALID_REQUEST, errors=[fault])
    reply = await ask(
        held,
        caller.workspace,
        purpose="chat",
        messages=messages,
        model="" if request.model == DEFAULT_MODEL else request.model,
        generation=_generation(request),
    )
    return _completion(reply)


def _generation(request: CompletionRequest) -> Generation:
    stop: Any = [request.stop] if isinstance(request.stop, str) else request.stop or []
    return Generation(
        temperature=request.temperature,
        max_tokens=request.max_completion_tokens or request.max_tokens,
        stop=tuple(stop),
    )


def _completion(reply: ChatReply) -> Completion:
    usage = reply.usage
    return Completion(
        id=f"chatcmpl-{reply.request_id}",
        created=int(now().timestamp()),
        model=reply.model or DEFAULT_MODEL,
        choices=[
            CompletionChoice(
                message=ChatMessage(role="assistant", content=reply.text), finish_reason=reply.finish_reason or "stop"
            )
        ],
        usage=CompletionUsage(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            total_tokens=usage.prompt_tokens + usage.completion_tokens,
        ),
        millrace=CompletionSources(
            citations=list(reply.citations),
            abstained=reply.abstained,
            support=reply.support,
            served_by=reply.served_by,
            conversation_id=reply.conversation_id,
        ),
    )
