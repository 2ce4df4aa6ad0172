from datetime import timedelta
from uuid import uuid4

import pytest

from infra.errors import Permanent
from infra.kafka.room import POLLED
from infra.kafka.worker import Each, Outgoing
from infra.settings import SettingsError
from schemas.chat import ChatReply, PromptParts, ReplyTo
from schemas.dead_letters import Reason
from schemas.event import now
from schemas.ids import point_id
from schemas.interactions import Interaction, Parameters
from tests.chats import passage, prompt
from tests.deliveries import delivery
from topics.catalogue import CHAT_CANCELS, CHAT_PROMPTS, CHAT_REPLIES, INTERACTIONS
from workers.inference.answer import Answerer
from workers.inference.backends.choice import open_backends
from workers.inference.backends.extractive import ExtractiveBackend
from workers.inference.settings import ExtractiveSettings, InferenceSettings
from workers.inference.tools import Tools, open_answerer
from workers.inference.worker import infer, worker

WEIGHTS = {"key": 2.0, "rotat": 3.0}
KEYS = passage(1, "Keys are rotated weekly.", cosines=(0.8,))


def tools() -> Tools:
    settings = InferenceSettings()
    return Tools(Answerer([ExtractiveBackend(ExtractiveSettings())], settings), settings)


async def published(**fields: object) -> list[Outgoing]:
    asked = prompt(passages=[KEYS, passage(2, "Bread is baked.", score=0.2, cosines=(0.0,))], weights=WEIGHTS, **fields)
    return list(await infer(delivery(asked), tools()))


async def test_a_chat_turn_gives_a_reply_and_an_interaction() -> None:
    reply, kept = await published(purpose="chat")
    assert (reply.topic, reply.partition, kept.topic) == (CHAT_REPLIES, 3, INTERACTIONS)
    answer, interaction = reply.body, kept.body
    assert isinstance(answer, ChatReply)
    assert isinstance(interaction, Interaction)
    assert (answer.kind, answer.sequence, answer.gateway) == ("final", 0, "gateway-1")
    assert answer.text == interaction.answer == "Keys are rotated weekly. [1]"
    assert answer.citations == interaction.citations
    assert (answer.served_by, answer.model, interaction.served_by) == ("extractive", "extractive", "extractive")
    assert [one.number for one in answer.passages] == [1, 2]
    assert interaction.passages == (KEYS.document_id, answer.passages[1].document_id)
    assert interaction.question.content == "How often are keys rotated?"
    assert interaction.index_id == "minilm-1"
    assert interaction.asked_at <= interaction.answered_at <= now()


@pytest.mark.parametrize(("cut", "results"), [(True, 0), (False, 0), (False, 2)])
async def test_a_reply_tells_that_its_question_was_shortened(*, cut: bool, results: int) -> None:
    asked = prompt(passages=[KEYS], weights=WEIGHTS).model_copy(
        update={"parts": PromptParts(budget=3_000, cut_question=cut, cut_results=results)}
    )
    reply, *_ = await infer(delivery(asked), tools())
    assert isinstance(reply.body, ChatReply)
    assert reply.body.shortened is (cut or results > 0)


async def test_an_interaction_tells_what_its_answer_was_made_of() -> None:
    asked = prompt(passages=[KEYS], weights=WEIGHTS, top_k=7).model_copy(
        update={"request_at": "chat.requests:1:10", "parts": PromptParts(budget=3_000, retrieved=40)}
    )
    _, kept = await infer(delivery(asked, offset=77, partition=4), tools())
    interaction = kept.body
    assert isinstance(interaction, Interaction)
    assert (interaction.request_at, interaction.prompt_at) == ("chat.requests:1:10", "chat.prompts:4:77")
    (chunk,) = interaction.chunks
    assert chunk.chunk_id == point_id(asked.workspace, KEYS.document_id, str(KEYS.ordinal))
    assert (chunk.document_id, chunk.version, chunk.start, chunk.end) == (
        KEYS.document_id,
        KEYS.version,
        KEYS.start,
        KEYS.end,
    )
    assert interaction.parts == asked.parts
    assert interaction.parameters == Parameters(top_k=7)
    assert interaction.adapter == ""


async def test_a_replay_leaves_no_interaction() -> None:
    (reply,) = await published(purpose="chat", replay_of=uuid4())
    assert reply.topic is CHAT_REPLIES


async def test_a_query_leaves_no_interaction() -> None:
    (reply,) = await published(purpose="query")
    assert reply.topic is CHAT_REPLIES


async def test_an_expired_prompt_is_answered_with_an_error_and_kept() -> None:
    reply, kept = await published(within=timedelta(seconds=-1))
    answer, interaction = reply.body, kept.body
    assert isinstance(answer, ChatReply)
    assert isinstance(interaction, Interaction)
    assert answer.kind == "error"
    assert answer.error is not None
    assert answer.error.code == "deadline_passed"
    assert answer.text == interaction.answer == ""
    assert interaction.error == answer.error


async def test_an_answer_that_nobody_could_read_is_not_made() -> None:
    with pytest.raises(Permanent) as refused:
        await published(reply_to=ReplyTo(partition=CHAT_REPLIES.partitions, gateway="gateway-1"))
    assert refused.value.reason is Reason.SCHEMA_VIOLATION


async def test_a_redelivery_publishes_under_the_same_identity() -> None:
    first, second = await published(), await published(within=timedelta(seconds=-1))
    # the runtime makes the event id of cause, worker, topic and part: whatever the outcome, one id
    assert [(one.topic, one.part) for one in first] == [(one.topic, one.part) for one in second]


def test_the_worker_says_what_it_does() -> None:
    (subscription,) = worker.subscriptions
    assert subscription.topic is CHAT_PROMPTS
    assert isinstance(subscription.mode, Each)
    # all that a busy partition holds stands in the fair queue: half of the room, and one more poll
    assert subscription.mode.concurrency >= worker.limits.records // 2 + worker.limits.records // POLLED
    assert worker.follows == (CHAT_CANCELS,)
    assert set(worker.publishes) == {CHAT_REPLIES, INTERACTIONS}


def test_the_address_decides_the_default_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INFERENCE_URL", raising=False)
    assert [one.name for one in open_backends(InferenceSettings())] == ["extractive"]
    monkeypatch.setenv("INFERENCE_URL", "http://127.0.0.1:9")
    assert [one.name for one in open_backends(InferenceSettings())] == ["openai", "extractive"]
    monkeypatch.setenv("INFERENCE_BACKEND", "extractive")
    assert [one.name for one in open_backends(InferenceSettings())] == ["extractive", "openai"]


def test_a_second_server_stands_between_the_first_and_the_last_resort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERENCE_SECOND_URL", "http://127.0.0.1:8")
    monkeypatch.setenv("INFERENCE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("INFERENCE_MODEL", "main")
    monkeypatch.setenv("INFERENCE_SECOND_MODEL", "spare")
    backends = open_backends(InferenceSettings())
    assert [(one.name, one.model) for one in backends[:2]] == [("openai", "main"), ("second", "spare")]
    assert backends[2].name == "extractive"
    monkeypatch.delenv("INFERENCE_URL")
    with pytest.raises(SettingsError, match="INFERENCE_URL"):
        open_backends(InferenceSettings())


def test_shares_are_read_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERENCE_WEIGHTS", "acme=3, other = 0.5,")
    assert InferenceSettings().weights == {"acme": 3.0, "other": 0.5}
    for wrong in ("acme=0", "acme=-1", "acme=nan", "acme=inf", "acme"):
        monkeypatch.setenv("INFERENCE_WEIGHTS", wrong)
        with pytest.raises(ValueError, match="WEIGHTS"):
            InferenceSettings()


def test_a_backend_without_its_address_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INFERENCE_URL", raising=False)
    monkeypatch.setenv("INFERENCE_BACKEND", "openai")
    with pytest.raises(SettingsError, match="INFERENCE_URL"):
        open_backends(InferenceSettings())


async def test_the_tools_open_and_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERENCE_URL", "http://127.0.0.1:9")
    async with open_answerer() as opened:
        assert (await opened.outcome(prompt(model="extractive"))).served_by == "extractive"


def test_message_kinds_are_a_comma_separated_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXTRACTIVE_MESSAGE_KINDS", "message, mail ,")
    assert ExtractiveSettings().message_kinds == ("message", "mail")


def test_whoever_waits_for_a_prompt_that_is_dead_lettered_hears_of_it() -> None:
    (subscription,) = worker.subscriptions
    asked = prompt("How?")
    (told,) = subscription.buried(delivery(asked))
    assert isinstance(told.body, ChatReply)
    assert told.body.error is not None
    assert (told.topic, told.partition, told.body.error.code) == (CHAT_REPLIES, 3, "worker_failed")
    nowhere = asked.request.reply_to.model_copy(update={"partition": CHAT_REPLIES.partitions})
    request = asked.request.model_copy(update={"reply_to": nowhere})
    assert list(subscription.buried(delivery(asked.model_copy(update={"request": request})))) == []
