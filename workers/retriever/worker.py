"""Finds what a question is to be answered from, and encodes texts for whoever wants their vectors.

consumes   chat.requests        key: workspace/conversation
           embedding.requests   key: workspace/request
           chat.cancels         in every process, without a group
publishes  chat.prompts         the question with its passages, for the inference worker
           chat.replies         of a search the passages; the vectors; of a request that cannot be served the reason
           interactions         the chat questions that end here, with the reason: they belong to their conversations
"""

from collections.abc import Iterable

from infra.errors import Permanent
from infra.kafka.worker import Delivery, Outgoing, Worker
from infra.queueing.cancels import AskerGone
from infra.queueing.held import HELD, TAKEN_UP
from infra.queueing.slots import NoTurnError
from infra.telemetry.logs import logger
from schemas.chat import WORKER_FAILED, ChatReply, ChatRequest
from schemas.embedding import EmbeddingRequest
from schemas.event import now
from topics.catalogue import CHAT_CANCELS, CHAT_PROMPTS, CHAT_REPLIES, CHAT_REQUESTS, EMBEDDING_REQUESTS, INTERACTIONS
from workers.retriever.prompt import NoRoomError, prompt_of
from workers.retriever.reply import (
    CANCELLED,
    CONTEXT_EXCEEDED,
    DEADLINE_PASSED,
    SEARCH_REFUSED,
    TEXT_REFUSED,
    UNKNOWN_MODEL,
    failure,
    passages_for,
    unanswered,
    vectors_for,
)
from workers.retriever.retrieve import Retrieved
from workers.retriever.tools import Tools, open_tools
from workers.retriever.vectors import LateError, UnknownModelError

log = logger(__name__)
worker = Worker(
    "retriever",
    tools=open_tools,
    publishes=(CHAT_PROMPTS, CHAT_REPLIES, INTERACTIONS),
    follows=(CHAT_CANCELS,),
    limits=HELD,
)


def _told(delivery: Delivery[ChatRequest] | Delivery[EmbeddingRequest]) -> Iterable[Outgoing]:
    """Tell whoever waits for a request that is a dead letter now; where nobody can read it, nobody waits."""
    if delivery.body.reply_to.partition >= CHAT_REPLIES.partitions:
        return []
    return [_reply(failure(delivery.body, WORKER_FAILED.code, WORKER_FAILED.detail), delivery)]


@worker.handles_each(CHAT_REQUESTS, concurrency=TAKEN_UP, buried=_told)
async def retrieve(delivery: Delivery[ChatRequest], tools: Tools) -> Iterable[Outgoing]:
    """Search, then hand over or reply. An expired or refused request is answered too: somebody waits."""
    request = delivery.body
    left_s = (request.deadline - now()).total_seconds()
    if left_s <= 0:
        return _ended(DEADLINE_PASSED, "the deadline had passed before the search began", delivery)
    try:
        return [await _found_for(delivery, tools, left_s)]
    except AskerGone:
        code, detail = CANCELLED, "the question was cancelled by its asker"
    except NoTurnError:
        code, detail = DEADLINE_PASSED, "the deadline passed while the search waited"
    except NoRoomError as error:
        code, detail = CONTEXT_EXCEEDED, f"the question takes about {error}: shorten it"
    except Permanent as error:
        log.warning("a search is refused", cause=error.detail, reason=error.reason)
        code, detail = SEARCH_REFUSED, "the index refuses this search: check its filters"
    return _ended(code, detail, delivery)


async def _found_for(delivery: Delivery[ChatRequest], tools: Tools, left_s: float) -> Outgoing:
    """Return the reply to a search, or the prompt of a question. Raises as `_found`, and NoRoomError."""
    request = delivery.body
    found = await _found(request, tools, left_s) if request.retrieve else Retrieved.of(request)
    if request.purpose == "search":
        return _reply(passages_for(request, found.passages), delivery)
    return Outgoing(CHAT_PROMPTS, prompt_of(request, found, tools.budget, delivery.origin), delivery)


async def _found(request: ChatRequest, tools: Tools, left_s: float) -> Retrieved:
    """Search when it is the workspace's turn: one with a flood of questions delays no other's.

    Raises NoTurnError, and AskerGone for a question that nobody waits for any more: its turn goes to the next.
    """
    workspace, queued_at = request.workspace, request.accepted_at.timestamp()
    async with (
        tools.cancels.heeded(workspace, request.request_id),
        tools.searches.slot(workspace, queued_at, within_s=left_s),
    ):
        return await tools.retriever.retrieve(request)


@worker.handles_each(EMBEDDING_REQUESTS, concurrency=TAKEN_UP, buried=_told)
async def encode(delivery: Delivery[EmbeddingRequest], tools: Tools) -> Iterable[Outgoing]:
    """Encode, or say why not."""
    request = delivery.body
    try:
        async with tools.cancels.heeded(request.workspace, request.request_id):
            reply = vectors_for(request, *await tools.vectoriser.vectors(request))
    except AskerGone:
        reply = failure(request, CANCELLED, "the request was cancelled by its asker")
    except UnknownModelError as error:
        reply = failure(request, UNKNOWN_MODEL, f"the live index was made with {error}")
    except LateError:
        reply = failure(request, DEADLINE_PASSED, "the deadline passed before all texts were encoded")
    except Permanent as error:
        log.warning("texts are refused", cause=error.detail, reason=error.reason)
        reply = failure(request, TEXT_REFUSED, "the encoder refuses one of these texts")
    return [_reply(reply, delivery)]


def _ended(code: str, detail: str, delivery: Delivery[ChatRequest]) -> list[Outgoing]:
    request = delivery.body
    reply = failure(request, code, detail)
    published = [_reply(reply, delivery)]
    if request.purpose == "chat" and request.replay_of is None:
        published.append(Outgoing(INTERACTIONS, unanswered(request, reply, delivery.origin), delivery))
    return published


def _reply(reply: ChatReply, delivery: Delivery[ChatRequest] | Delivery[EmbeddingRequest]) -> Outgoing:
    return Outgoing(CHAT_REPLIES, reply, delivery, partition=delivery.body.reply_to.partition)
