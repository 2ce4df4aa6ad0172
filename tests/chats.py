"""Valid questions, prompts and passages for tests, made from the few facts that a test cares about."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid5

from schemas.chat import ChatMessage, ChatPrompt, ChatRequest, Passage, ReplyTo, Sentence
from schemas.event import now
from schemas.ids import NAMESPACE

MINUTE = timedelta(minutes=1)


def request(
    question: str = "How often are keys rotated?", *, within: timedelta = MINUTE, **fields: object
) -> ChatRequest:
    """Return a request of workspace acme whose deadline is `within` from now."""
    values: dict[str, object] = {
        "workspace": "acme",
        "request_id": uuid5(NAMESPACE, question),
        "conversation_id": uuid5(NAMESPACE, "conversation"),
        "messages": (ChatMessage(role="user", content=question),),
        "reply_to": ReplyTo(partition=3, gateway="gateway-1"),
        "accepted_at": now(),
        "deadline": now() + within,
    }
    return ChatRequest.model_validate({**values, **fields})


def passage(
    number: int = 1,
    text: str = "Keys are rotated weekly.",
    *,
    at: int = 0,
    cosines: Sequence[float] = (),
    **fields: object,
) -> Passage:
    """Return passage `number`, starting at code point `at` of its document.

    `cosines` has one value per sentence; sentences end with ". " here.
    """
    sentences = []
    start = 0
    for part, cosine in zip(text.split(". "), cosines, strict=bool(cosines)):
        end = min(len(text), start + len(part) + 1)
        sentences.append(Sentence(start=at + start, end=at + end, cosine=cosine))
        start = end + 1
    values: dict[str, object] = {
        "document_id": UUID(int=number),
        "version": 1,
        "ordinal": 0,
        "start": at,
        "end": at + len(text),
        "text": text,
        "title": f"Document {number}",
        "score": 1.0,
        "cosine": 0.5,
        "sentences": tuple(sentences),
    }
    return Passage.model_validate({**values, "number": number, **fields})


def prompt(
    question: str = "How often are keys rotated?",
    passages: Sequence[Passage] = (),
    weights: dict[str, float] | None = None,
    **fields: object,
) -> ChatPrompt:
    """Return a prompt with one user message, the question; `fields` are those of its request."""
    return ChatPrompt(
        workspace="acme",
        request=request(question, **fields),  # type: ignore[arg-type]
        question=question,
        index_id="minilm-1",
        passages=tuple(passages),
        term_weights=weights or {},
        messages=(ChatMessage(role="user", content=question),),
    )
