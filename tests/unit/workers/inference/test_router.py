from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from infra.errors import Permanent, Transient
from infra.models.encoder import EncoderError
from infra.models.hashed import HashEncoder
from infra.models.packed import pack
from infra.telemetry.metrics import REGISTRY
from schemas.chat import ChatPrompt, Intent, ReplyError
from tests.chats import passage, prompt
from tests.unit.workers.inference.servers import ModelServer
from tests.unit.workers.inference.test_answer import ANSWER, DOWN, WRONG_KEY, Quoting, Scripted
from workers.inference.answer import Answerer
from workers.inference.backends.openai import OpenAIBackend
from workers.inference.embed import LateVectors
from workers.inference.fleet import arranged, environments
from workers.inference.intent import INTENTS, Reading, packaged
from workers.inference.router import plan
from workers.inference.routing import RoutingError, parse
from workers.inference.settings import InferenceSettings, OpenAISettings


def settings(**said: object) -> InferenceSettings:
    return InferenceSettings.model_validate({"INFERENCE_ATTEMPTS": 1, **said})


def routed(file: str, *backends: Scripted, **said: object) -> Answerer:
    """Return an answerer of `backends` as the environment's, routing by `file`."""
    found = Answerer(backends, settings(**said))
    found.fleet = arranged(environments(backends, settings(**said)), parse(file.encode()), settings(**said))
    return found


def asked(intent: Intent | None = None, **fields: object) -> ChatPrompt:
    return prompt(passages=[passage()], intent=intent, **fields)


def typical(*intents: Intent) -> str:
    """Return a vector that the classifier is sure of, or torn between."""
    weights = sum(packaged()._weights[INTENTS.index(intent)] for intent in intents)
    return pack(np.asarray(weights / np.linalg.norm(weights), dtype=np.float32))


def shown(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"millrace_{name}", labels) or 0.0


FILE = """
backends: {a: {concurrency: 8}}
routes: {code: {to: 'b:m2', fallbacks: [a]}, creative: b}
workspaces: {acme: {creative: 'c'}, elsewhere: {code: a}}
"""


def three() -> tuple[Scripted, Scripted, Scripted]:
    return Scripted(ANSWER, name="a", model="m1"), Scripted(ANSWER, name="b", model="m2"), Scripted(ANSWER, name="c")


@pytest.mark.parametrize(
    ("workspace", "intent", "served_by"),
    [
        ("acme", "code", "b"),
        ("elsewhere", "code", "a"),
        ("acme", "creative", "c"),
        ("other", "creative", "b"),
        ("acme", "reasoning", "a"),
        ("acme", None, "a"),
    ],
)
async def test_workspace_and_intent_choose_the_backend(workspace: str, intent: Intent | None, served_by: str) -> None:
    outcome = await routed(FILE, *three()).outcome(asked(intent, workspace=workspace))
    assert (outcome.served_by, outcome.degraded, outcome.intent) == (served_by, False, intent)


async def test_a_named_model_wins_over_the_intent() -> None:
    outcome = await routed(FILE, *three()).outcome(asked("code", model="c"))
    assert (outcome.served_by, outcome.intent) == ("c", "code")


async def test_the_classifier_speaks_where_the_asker_does_not() -> None:
    found = asked().model_copy(update={"question_vector": typical("code"), "encoder": packaged().encoder})
    outcome = await routed(FILE, *three()).outcome(found)
    assert (outcome.served_by, outcome.intent) == ("b", "code")
    torn = found.model_copy(update={"question_vector": typical("code", "creative")})
    unsure = await routed(FILE + "confidence: 1\n", *three()).outcome(torn)
    assert (unsure.served_by, unsure.intent) == ("a", "general")
    foreign = await routed(FILE, *three()).outcome(found.model_copy(update={"encoder": "another"}))
    assert (foreign.served_by, foreign.intent) == ("a", None)


def test_what_the_asker_says_needs_no_confidence() -> None:
    assert Reading("creative", "code", 0.9).intent(1.0) == "creative"
    assert Reading(None, "code", 0.4).intent(0.5) == "general"
    assert Reading(None, "code", 0.5).intent(0.5) == "code"


async def test_only_the_fallbacks_that_a_route_names_stand_in_then_quotations() -> None:
    a, c = Scripted(ANSWER, name="a"), Scripted(ANSWER, name="c")
    b = Scripted(DOWN, name="b", model="m2")
    answerer = routed(FILE, a, b, c, Quoting(ANSWER, name="q"))
    before = shown("routed_fallbacks_total", backend="b", model="m2", intent="code")
    outcome = await answerer.outcome(asked("code"))
    assert (outcome.served_by, outcome.degraded, outcome.intent) == ("a", True, "code")
    assert shown("routed_fallbacks_total", backend="b", model="m2", intent="code") == before + 1
    none = routed("routes: {code: {to: b, fallbacks: []}}", a, b, c, Quoting(ANSWER, name="q"))
    assert (await none.outcome(asked("code"))).served_by == "q"
    every = routed("routes: {code: b}", a, b, c, Quoting(ANSWER, name="q"))
    assert (await every.outcome(asked("code"))).served_by == "c"


@pytest.mark.parametrize("listing", [DOWN, WRONG_KEY], ids=str)
async def test_a_model_that_its_backend_does_not_serve_is_stood_in_for(listing: Transient | Permanent) -> None:
    a, b, c = three()
    outcome = await routed("routes: {code: {to: 'b:gone', fallbacks: [a]}}", a, b, c).outcome(asked("code"))
    assert (outcome.served_by, outcome.degraded) == ("a", True)
    alone = await routed("routes: {code: {to: 'b:gone', fallbacks: []}}", a, b, c).outcome(prompt(intent="code"))
    assert isinstance(alone.result, ReplyError)
    assert "b does not serve the model of this route" in alone.result.detail
    unsure = Scripted(ANSWER, name="b", listing=listing)
    told = await routed("routes: {code: {to: 'b:m9', fallbacks: [a]}}", a, unsure).outcome(asked("code"))
    assert told.served_by == "a"


async def test_a_routed_model_is_asked_for_by_its_name_and_the_others_by_theirs() -> None:
    server, other = ModelServer("base", "lora"), ModelServer("small")
    backends = [
        OpenAIBackend(OpenAISettings(url="http://a"), server, name="a"),
        OpenAIBackend(OpenAISettings(url="http://b"), other, name="b"),
    ]
    answerer = Answerer(backends, settings())
    answerer.fleet = arranged(environments(backends, settings()), parse(b"routes: {code: 'a:lora'}"), settings())
    outcome = await answerer.outcome(asked("code"))
    assert (outcome.model, outcome.wanted_model, server.asked) == ("lora", "lora", ["lora"])
    before = shown("routed_tokens_total", backend="a", model="base", intent="general", kind="completion")
    assert (await answerer.outcome(asked("general"))).model == "base"
    assert shown("routed_tokens_total", backend="a", model="base", intent="general", kind="completion") == before + 3
    server.down = True
    outcome = await answerer.outcome(asked("code"))
    assert (outcome.served_by, outcome.model, other.asked) == ("b", "small", ["small"])
    await answerer.close()


async def test_the_environment_comes_before_the_file_and_quoting_last() -> None:
    file = "backends: {far: {url: 'http://far'}}"
    own = Scripted(ANSWER, name="openai"), Quoting(ANSWER, name="extractive")
    assert [member.name for member in routed(file, *own).fleet.members] == ["openai", "far", "extractive"]
    quoting = routed(file, own[1], own[0], INFERENCE_BACKEND="extractive")
    assert [member.name for member in quoting.fleet.members] == ["extractive", "openai", "far"]
    assert [member.limit for member in quoting.fleet.members] == [None, 32, 32]
    assert routed("backends: {openai: {concurrency: 3}}", *own).fleet.named("openai").limit == 3
    with pytest.raises(RoutingError, match=r"backends\.openai: model"):
        routed("backends: {openai: {model: x}}", *own)


async def test_a_server_of_the_file_gets_its_own_key_and_never_that_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERENCE_API_KEY", "sk-main")
    monkeypatch.setenv("CODER_KEY", "sk-coder")
    monkeypatch.setenv("INFERENCE_MAX_TOKENS", "99")
    file = "backends: {far: {url: 'http://far'}, coder: {url: 'http://c', api_key_env: CODER_KEY, max_tokens: 7}}"
    fleet = routed(file, Scripted(ANSWER, name="openai")).fleet
    far, coder = (fleet.named(name).backend for name in ("far", "coder"))
    assert isinstance(far, OpenAIBackend)
    assert isinstance(coder, OpenAIBackend)
    assert "authorization" not in far._headers
    assert coder._headers["authorization"] == "Bearer sk-coder"
    assert (far._settings.max_tokens, coder._settings.max_tokens) == (99, 7)
    assert (far._settings.model, far._settings.models) == ("", ())


async def test_questions_without_a_vector_are_embedded_where_the_routing_needs_it() -> None:
    opened: list[HashEncoder] = []

    @asynccontextmanager
    async def opening() -> AsyncIterator[HashEncoder]:
        opened.append(HashEncoder())
        yield opened[0]
        opened.clear()

    vectors = LateVectors(opening)
    first = await vectors.embedded(prompt())
    assert first.question_vector == ""
    await vectors.wait_open()
    second = await vectors.embedded(prompt())
    assert second.encoder == opened[0].model_id
    assert second.question_vector
    await vectors.close()
    assert not opened


async def test_a_missing_encoder_leaves_questions_general() -> None:
    @asynccontextmanager
    async def opening() -> AsyncIterator[HashEncoder]:
        raise EncoderError("no weights")
        yield

    vectors = LateVectors(opening)
    for _ in range(2):
        assert (await vectors.embedded(prompt())).question_vector == ""
        await vectors.wait_open()
    await vectors.close()


async def test_nobody_is_planned_for_an_unknown_model() -> None:
    found = await plan(routed(FILE, *three()).fleet, asked(model="gpt-9"), Reading())
    assert (found.steps, found.wanted) == ((), "")
