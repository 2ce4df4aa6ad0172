"""Search, and questions answered from the sources."""

from collections.abc import Sequence
from time import perf_counter
from typing import Annotated, Literal, Self
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from gateway.asking import ask
from gateway.auth import NEEDS_KEY, Caller
from gateway.connections import Held
from gateway.documenting import AUTHENTICATED, PUBLISHING, problems
from gateway.problems import Code
from schemas.chat import ChatMessage, ChatReply, Citation, Intent, Passage
from schemas.filters import SearchFilters

router = APIRouter(tags=["search"], dependencies=[NEEDS_KEY])

MAX_QUESTION = 8_000
"""Characters of a question to the sources alone; what is said in a chat may be `MAX_CONTENT` long."""

MOST_GROUPED = 300
"""Passages of a grouped search: they travel in one reply."""

Question = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_QUESTION)]

ASKING = (
    *AUTHENTICATED,
    *PUBLISHING,
    Code.INVALID_JSON,
    Code.INVALID_REQUEST,
    Code.MODEL_NOT_FOUND,
    Code.REFUSED,
    Code.ANSWER_FAILED,
    Code.DEADLINE_PASSED,
)
"""What a route that waits for a reply may answer."""

ANSWERING = (
    Code.OVERLOADED,
    Code.CANCELLED,
    Code.KEY_REUSED,
    Code.CONTEXT_LENGTH_EXCEEDED,
    Code.RESPONSE_FORMAT_NOT_SUPPORTED,
    Code.TOOLS_NOT_SUPPORTED,
    Code.REQUEST_REJECTED,
    Code.CONVERSATION_NOT_FOUND,
)
"""What a chat may answer besides."""


MinSupport = Annotated[
    float | None,
    Field(
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Least `support` that an answer needs, 0 to 1: below it the built-in answerer abstains. 0 always "
        "quotes, higher is stricter; null is the installation's own. Language models do not estimate it.",
    ),
]


class Filters(SearchFilters):
    """What may be found, beyond the workspace, which always applies. Empty means no restriction."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Query(BaseModel):
    """A question to the sources."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"query": "Who fixed the login timeout?", "top_k": 5, "filters": {"kinds": ["issue"]}}]
        },
    )

    query: Question
    top_k: int = Field(default=5, ge=1, le=100)
    filters: Filters = Field(default_factory=Filters)


class SearchQuery(Query):
    """What to look for. With `group_by: "document"` `top_k` counts documents."""

    group_by: Literal["document"] | None = None
    group_size: int | None = Field(default=None, ge=1, le=MOST_GROUPED)
    """Passages of each document at the most, its best ones; 1 unless given."""

    @model_validator(mode="after")
    def _grouped(self) -> Self:
        if self.group_size is not None and self.group_by is None:
            raise ValueError("group_size says how many passages of a document: it needs group_by")
        if self.top_k * (self.group_size or 1) > MOST_GROUPED:
            raise ValueError(f"top_k times group_size is {MOST_GROUPED} at the most")
        return self


class Group(BaseModel):
    """A document of a grouped search, and the numbers of its passages."""

    document_id: UUID
    version: int
    title: str
    url: str
    source: str
    score: float
    """Of its best passage."""
    passages: list[int]


class RagQuery(Query):
    """A question to be answered from the sources."""

    min_support: MinSupport = None


class Found(BaseModel):
    """Passages, best first. `document.text[start:end] == text` holds for each at its version."""

    passages: list[Passage]
    """Where documents are counted, those of one document together, the document with the best passage first."""
    groups: list[Group] | None = None
    """The documents, where `group_by` asked for them."""
    took_ms: float


class Answer(BaseModel):
    """An answer with its sources. `abstained`: the sources do not hold it, and the text says so."""

    answer: str
    abstained: bool
    support: float | None
    citations: list[Citation]
    passages: list[Passage]
    model: str
    served_by: str
    degraded: bool
    finish_reason: str
    """`stop`, `length` where it is as long as it may be, `error` where it broke off, or the model server's word."""
    shortened: bool
    """Whether the question, or what a function returned for it, was too long for the prompt and lost its middle."""
    intent: Intent | None
    """What kind of question it was taken for; null where that was not asked."""
    request_id: UUID


@router.post("/v1/search", response_model=Found, responses=problems(*ASKING, Code.OVERLOADED))
async def search(query: SearchQuery, caller: Caller, held: Held) -> Found:
    """Find passages."""
    started = perf_counter()
    reply = await ask(
        held,
        caller.workspace,
        purpose="search",
        messages=[ChatMessage(role="user", content=query.query)],
        top_k=query.top_k,
        filters=query.filters,
        group_size=(query.group_size or 1) if query.group_by else 0,
    )
    groups = groups_of(reply.passages) if query.group_by else None
    return Found(passages=list(reply.passages), groups=groups, took_ms=round((perf_counter() - started) * 1000, 1))


def groups_of(passages: Sequence[Passage]) -> list[Group]:
    """Return the documents of passages, in their order."""
    groups: dict[UUID, Group] = {}
    for one in passages:
        fields = one.model_dump(include={"document_id", "version", "title", "url", "source", "score"})
        groups.setdefault(one.document_id, Group(**fields, passages=[])).passages.append(one.number)
    return list(groups.values())


@router.post("/v1/rag/query", response_model=Answer, responses=problems(*ASKING, Code.OVERLOADED))
async def answer_question(query: RagQuery, caller: Caller, held: Held) -> Answer:
    """Answer one question from the sources. Leaves no conversation behind."""
    reply = await ask(
        held,
        caller.workspace,
        purpose="query",
        messages=[ChatMessage(role="user", content=query.query)],
        top_k=query.top_k,
        filters=query.filters,
        min_support=query.min_support,
    )
    return answer_of(reply)


def answer_of(reply: ChatReply) -> Answer:
    """Return a final reply as clients see it."""
    return Answer(
        answer=reply.text,
        abstained=reply.abstained,
        support=reply.support,
        citations=list(reply.citations),
        passages=list(reply.passages),
        model=reply.model,
        served_by=reply.served_by,
        degraded=reply.degraded,
        finish_reason=reply.finish_reason or "stop",
        shortened=reply.shortened,
        intent=reply.intent,
        request_id=reply.request_id,
    )
