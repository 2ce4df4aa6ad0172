import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import cast
from uuid import UUID

import pytest

from infra.errors import Permanent, Transient
from infra.kafka.worker import Each, Outgoing
from infra.queueing.cancels import Cancels
from infra.queueing.held import TAKEN_UP
from infra.queueing.slots import Slots
from schemas.chat import ChatPrompt, ChatReply, ChatRequest
from schemas.chat_cancel import ChatCancel
from schemas.dead_letters import Reason
from schemas.embedding import EmbeddingRequest
from schemas.interactions import Interaction
from tests.chats import passage, request
from tests.deliveries import delivery
from tests.eventually import eventually
from tests.unit.workers.retriever.test_vectors import asked as texts
from topics.catalogue import CHAT_CANCELS, CHAT_PROMPTS, CHAT_REPLIES, CHAT_REQUESTS, EMBEDDING_REQUESTS, INTERACTIONS
from workers.retriever.budget import Budget
from workers.retriever.question import Question
from workers.retriever.retrieve import Retrieved, Retriever
from workers.retriever.tools import SEARCHES, Tools
from workers.retriever.vectors import Vectoriser
from workers.retriever.worker import retrieve, worker

FOUND = Retrieved(Question("How?", "How?"), "minilm-1", (passage(1),), {"key": 1.0})


class Finding:
    """Stands for the search, which has tests of its own on a real index."""

    def __init__(self, result: Retrieved | Exception) -> None:
        self.result = result
        self.asked = 0

    async def retrieve(self, request: ChatRequest) -> Retrieved:
        self.asked += 1
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def tools_of(finding: "Finding", slots: int = 2) -> Tools:
    return Tools(cast(Retriever, finding), Budget(), cast(Vectoriser, None), Slots(slots, SEARCHES), Cancels(60))


async def handled(asked: ChatRequest, result: Retrieved | Exception = FOUND) -> tuple[Outgoing, int]:
    finding = Finding(result)
    published, *_ = await retrieve(delivery(asked), tools_of(finding))
    return published, finding.asked


@pytest.mark.parametrize("purpose", ["chat", "query"])
async def test_a_question_becomes_a_prompt(purpose: str) -> None:
    published, _ = await handled(request("How?", purpose=purpose))
    body = published.body
    assert published.topic is CHAT_PROMPTS
    assert isinstance(body, ChatPrompt)
    assert (body.question, body.index_id, body.term_weights) == ("How?", "minilm-1", {"key": 1.0})
    assert body.passages == FOUND.passages
    assert body.messages[-1].content.endswith("Question: How?")
    assert "<<<SOURCE 1 " in body.messages[-1].content
    assert body.request_at == "chat.requests:0:0"
    assert body.parts is not None
    assert body.parts.passages == len(FOUND.passages)


async def test_a_search_ends_with_its_passages() -> None:
    published, _ = await handled(request("How?", purpose="search"))
    body = published.body
    assert (published.topic, published.partition) == (CHAT_REPLIES, 3)
    assert isinstance(body, ChatReply)
    assert (body.kind, body.passages, body.gateway, body.sequence) == ("final", FOUND.passages, "gateway-1", 0)
    assert body.error is None


async def test_an_expired_request_is_not_searched_and_is_answered() -> None:
    published, asked = await handled(request(within=timedelta(seconds=-1)))
    body = published.body
    assert asked == 0
    assert isinstance(body, ChatReply)
    assert (published.topic, published.partition, body.kind) == (CHAT_REPLIES, 3, "error")
    assert body.error is not None
    assert body.error.code == "deadline_passed"


async def test_a_refused_search_is_answered_without_the_index_own_words() -> None:
    published, _ = await handled(request(), Permanent(Reason.REFUSED_BY_SINK, "status 400: secret"))
    body = published.body
    assert isinstance(body, ChatReply)
    assert body.error is not None
    assert body.error.code == "search_refused"
    assert "secret" not in body.error.detail


async def test_a_dependency_that_is_away_is_left_to_the_runtime() -> None:
    with pytest.raises(Transient):
        await handled(request(), Transient("qdrant", "ConnectError"))


async def test_without_retrieval_nothing_is_searched() -> None:
    published, asked = await handled(request("Tell a joke.", retrieve=False))
    body = published.body
    assert asked == 0
    assert isinstance(body, ChatPrompt)
    assert body.passages == ()
    assert body.messages[-1].content == "Tell a joke."


async def test_a_question_that_has_no_room_is_answered_with_how_much_there_is() -> None:
    asked = request("z" * 20_000, retrieve=False)
    reply, kept = await retrieve(delivery(asked), tools_of(Finding(FOUND)))
    assert failed([reply]) == "context_length_exceeded"
    assert isinstance(reply.body, ChatReply)
    assert reply.body.error is not None
    assert "a prompt holds 3000" in reply.body.error.detail
    assert kept.topic is INTERACTIONS


class Held(Finding):
    """Searches until it is let go, and remembers for whom in which order."""

    def __init__(self) -> None:
        super().__init__(FOUND)
        self.order: list[str] = []
        self.release = asyncio.Event()

    async def retrieve(self, request: ChatRequest) -> Retrieved:
        self.order.append(request.workspace)
        await self.release.wait()
        return await super().retrieve(request)


async def test_a_flood_of_one_workspace_delays_another_by_one_search() -> None:
    finding = Held()
    tools = tools_of(finding, slots=1)

    def ask(workspace: str, number: int) -> asyncio.Task[Iterable[Outgoing]]:
        return asyncio.create_task(retrieve(delivery(request(f"{number}?", workspace=workspace)), tools))

    flood = [ask("acme", number) for number in range(5)]
    await eventually(lambda: tools.searches.depth == 4)
    single = ask("globex", 5)
    await eventually(lambda: tools.searches.depth == 5)
    # What is not searched for waits for nobody.
    (published,) = await retrieve(delivery(request("Tell a joke.", retrieve=False)), tools)
    assert published.topic is CHAT_PROMPTS
    finding.release.set()
    await asyncio.gather(single, *flood)
    assert finding.order == ["acme", "globex", "acme", "acme", "acme", "acme"]


async def test_a_question_whose_deadline_passes_in_the_queue_is_answered_then() -> None:
    finding = Held()
    tools = tools_of(finding, slots=1)
    first = asyncio.create_task(retrieve(delivery(request("1?")), tools))
    await eventually(lambda: finding.order)
    published, _ = await retrieve(delivery(request("2?", within=timedelta(seconds=0.05))), tools)
    assert isinstance(published.body, ChatReply)
    assert published.body.error is not None
    assert published.body.error.code == "deadline_passed"
    finding.release.set()
    await first
    assert finding.order == ["acme"]


def cancel(asked: ChatRequest) -> ChatCancel:
    return ChatCancel(workspace=asked.workspace, request_id=asked.request_id)


def failed(published: Iterable[Outgoing]) -> str:
    reply, *_ = published
    assert isinstance(reply.body, ChatReply)
    assert reply.body.error is not None
    return reply.body.error.code


async def test_a_cancel_ends_the_search_and_the_waiting_for_one_and_gives_the_turn_on() -> None:
    finding = Held()
    tools = tools_of(finding, slots=1)
    asked = [request(f"{number}?", workspace=f"w{number}", request_id=UUID(int=number)) for number in range(3)]
    searched, waiting, last = [asyncio.create_task(retrieve(delivery(each), tools)) for each in asked]
    await eventually(lambda: tools.searches.depth == 2)
    tools.cancels.hear(cancel(asked[1]))
    assert failed(await asyncio.wait_for(waiting, 60)) == "cancelled"
    assert tools.searches.depth == 1
    tools.cancels.hear(cancel(asked[0]))
    assert failed(await asyncio.wait_for(searched, 60)) == "cancelled"
    await eventually(lambda: finding.order == ["w0", "w2"])
    finding.release.set()
    (prompt,) = await last
    assert prompt.topic is CHAT_PROMPTS


async def test_a_question_that_was_cancelled_before_it_came_is_not_searched_for() -> None:
    finding, asked = Finding(FOUND), request("How?", purpose="search")
    tools = tools_of(finding)
    tools.cancels.hear(cancel(asked))
    assert failed(await retrieve(delivery(asked), tools)) == "cancelled"
    assert finding.asked == 0


async def test_a_chat_question_that_ends_here_belongs_to_its_conversation_all_the_same() -> None:
    asked = request("How?", purpose="chat", within=timedelta(seconds=-1))
    _, kept = await retrieve(delivery(asked), tools_of(Finding(FOUND)))
    assert kept.topic is INTERACTIONS
    assert isinstance(kept.body, Interaction)
    assert (kept.body.question.content, kept.body.answer, kept.body.prompt_at) == ("How?", "", "")
    assert kept.body.request_at == "chat.requests:0:0"
    assert kept.body.error is not None
    assert kept.body.error.code == "deadline_passed"


@pytest.mark.parametrize("told", [{"purpose": "search"}, {"purpose": "query"}, {"replay_of": UUID(int=9)}], ids=str)
async def test_what_is_no_turn_of_a_conversation_leaves_none_behind(told: dict[str, object]) -> None:
    asked = request("How?", within=timedelta(seconds=-1), **told)  # type: ignore[arg-type] # fields of a request
    (reply,) = await retrieve(delivery(asked), tools_of(Finding(FOUND)))
    assert reply.topic is CHAT_REPLIES


async def test_a_redelivery_gives_the_same_prompt() -> None:
    asked = request("How?")
    first, second = await handled(asked), await handled(asked)
    assert first[0].body == second[0].body
    assert first[0].part == second[0].part


def test_the_worker_says_what_it_does() -> None:
    modes = {subscription.topic: subscription.mode for subscription in worker.subscriptions}
    assert modes == {CHAT_REQUESTS: Each(TAKEN_UP), EMBEDDING_REQUESTS: Each(TAKEN_UP)}
    assert set(worker.publishes) == {CHAT_PROMPTS, CHAT_REPLIES, INTERACTIONS}
    assert worker.follows == (CHAT_CANCELS,)
    assert UUID(int=1) == FOUND.passages[0].document_id


@pytest.mark.parametrize("asked", [request("How?"), texts("a")], ids=["question", "texts"])
def test_whoever_waits_for_a_request_that_is_dead_lettered_hears_of_it(asked: ChatRequest | EmbeddingRequest) -> None:
    (subscription,) = (each for each in worker.subscriptions if isinstance(asked, each.topic.body))
    (reply,) = subscription.buried(delivery(asked))
    assert (failed([reply]), reply.partition) == ("worker_failed", asked.reply_to.partition)
    nowhere = asked.reply_to.model_copy(update={"partition": CHAT_REPLIES.partitions})
    assert list(subscription.buried(delivery(asked.model_copy(update={"reply_to": nowhere})))) == []
