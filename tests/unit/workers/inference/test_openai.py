from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import orjson
import pytest
from pydantic import SecretStr

from infra.errors import Permanent, Transient
from schemas.chat import Generation, Passage, Usage
from schemas.event import now
from tests.chats import passage, prompt
from workers.inference.backends.backend import (
    FORMAT_NOT_SUPPORTED,
    TOOLS_NOT_SUPPORTED,
    Faulted,
    NothingSaid,
    RequestRefused,
)
from workers.inference.backends.openai import OpenAIBackend, endpoint
from workers.inference.backends.refusals import CONTEXT_EXCEEDED, REQUEST_REJECTED
from workers.inference.settings import OpenAISettings

SETTINGS = OpenAISettings(url="http://model.test/v1", model="tiny", api_key=SecretStr("sesame"))
KEYS = passage(1, "Secrets matter. Keys are rotated weekly.", cosines=(0.1, 0.8))


def completion(text: str | None = "Keys are rotated weekly [1].", **fields: object) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"id": "c1", "choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 5}, **fields}


class Server:
    """Answers by a script and remembers what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def backend(self, settings: OpenAISettings = SETTINGS) -> OpenAIBackend:
        return OpenAIBackend(settings, httpx.MockTransport(self))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://h:1", "http://h:1/v1/"),
        ("http://h:1/", "http://h:1/v1/"),
        ("http://h:1/v1", "http://h:1/v1/"),
        ("https://h/api/openai/v1/", "https://h/api/openai/v1/"),
    ],
)
def test_an_address_without_a_path_gets_the_version(url: str, address: str) -> None:
    assert endpoint(url) == address


async def test_an_answer_with_its_citations() -> None:
    server = Server(httpx.Response(200, json=completion()))
    backend = server.backend()
    answer = await backend.answer(prompt(passages=[KEYS]))
    assert answer.text == "Keys are rotated weekly [1]."
    assert [(one.number, one.quote) for one in answer.citations] == [(1, "Keys are rotated weekly.")]
    assert answer.usage == Usage(prompt_tokens=7, completion_tokens=5)
    assert (answer.finish_reason, answer.abstained, answer.support) == ("stop", False, None)
    assert (backend.name, backend.model) == ("openai", "tiny")
    await backend.close()
    (request,) = server.requests
    assert str(request.url) == "http://model.test/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer sesame"
    assert orjson.loads(request.content) == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "How often are keys rotated?"}],
        "temperature": 0.0,
        "max_tokens": 512,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_the_requests_own_limits_are_passed_on() -> None:
    server = Server(httpx.Response(200, json=completion()))
    form = {"type": "json_schema", "json_schema": {"name": "days", "schema": {"type": "object"}}}
    generation = Generation(temperature=0.7, max_tokens=9, stop=("\n",), top_p=0.9, seed=7, response_format=form)
    await server.backend().answer(prompt(generation=generation))
    body = orjson.loads(server.requests[0].content)
    assert (body["temperature"], body["max_tokens"], body["stop"]) == (0.7, 9, ["\n"])
    assert (body["top_p"], body["seed"], body["response_format"]) == (0.9, 7, form)


async def test_a_seed_of_nought_is_a_seed() -> None:
    server = Server(httpx.Response(200, json=completion()))
    await server.backend().answer(prompt(generation=Generation(seed=0)))
    assert orjson.loads(server.requests[0].content)["seed"] == 0


async def test_without_a_model_the_first_listed_is_asked_once() -> None:
    models = httpx.Response(200, json={"data": [{"id": "served"}, {"id": "other"}]})
    server = Server(models, httpx.Response(200, json=completion()), httpx.Response(200, json=completion()))
    backend = server.backend(OpenAISettings(url="http://model.test"))
    assert backend.model == ""
    await backend.answer(prompt())
    await backend.answer(prompt())
    assert backend.model == "served"
    assert [request.url.path for request in server.requests] == ["/v1/models", *["/v1/chat/completions"] * 2]
    assert "authorization" not in server.requests[0].headers


async def test_thinking_aloud_is_not_part_of_the_answer() -> None:
    server = Server(httpx.Response(200, json=completion("<think>[9] hm</think>\n\nWeekly [1].")))
    assert (await server.backend().answer(prompt(passages=[KEYS]))).text == "Weekly [1]."


async def test_repeated_fences_are_not_part_of_the_answer() -> None:
    server = Server(httpx.Response(200, json=completion("Weekly [1].\n<<<END SOURCE 2 14ae4e076fef7013>>>")))
    assert (await server.backend().answer(prompt(passages=[KEYS]))).text == "Weekly [1]."


async def test_saying_that_the_sources_do_not_answer_is_an_abstention() -> None:
    said = httpx.Response(200, json=completion("The sources do not answer this."))
    assert (await Server(said).backend().answer(prompt(passages=[KEYS]))).abstained
    other = httpx.Response(200, json=completion("They do not answer in March [1]."))
    assert not (await Server(other).backend().answer(prompt(passages=[KEYS]))).abstained


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_transient(status: int) -> None:
    with pytest.raises(Transient, match=str(status)):
        await Server(httpx.Response(status, text="my prompt was: secret")).backend().answer(prompt())


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_what_will_not_pass_is_permanent_and_quotes_nothing(status: int) -> None:
    with pytest.raises(Permanent, match=str(status)) as refused:
        await Server(httpx.Response(status, text="my prompt was: secret")).backend().answer(prompt())
    assert "secret" not in refused.value.detail
    assert "sesame" not in refused.value.detail


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_request_at_fault_is_told_without_a_quote(status: int) -> None:
    with pytest.raises(RequestRefused) as refused:
        await Server(httpx.Response(status, text="my prompt was: secret")).backend().answer(prompt())
    assert refused.value.code == REQUEST_REJECTED
    assert "secret" not in refused.value.detail


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "context_length_exceeded", "message": "Too many tokens", "type": "invalid_request_error"}},
        {"object": "error", "message": "This model's maximum context length is 8192 tokens.", "code": 400},
        {"error": {"code": 400, "message": "the request exceeds it", "type": "exceed_context_size_error"}},
        {"error": "input is too long: context length 4096"},
    ],
)
async def test_a_prompt_beyond_the_context_has_a_code_of_its_own(body: dict[str, Any]) -> None:
    with pytest.raises(RequestRefused) as refused:
        await Server(httpx.Response(400, json=body)).backend().answer(prompt())
    assert refused.value.code == CONTEXT_EXCEEDED


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (
            '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
            TOOLS_NOT_SUPPORTED,
            "",
        ),
        ('tool_choice="required" requires --tool-call-parser to be set', TOOLS_NOT_SUPPORTED, ""),
        ("registry.ollama.ai/library/smol:latest does not support tools", TOOLS_NOT_SUPPORTED, ""),
        ("tools param requires --jinja flag", TOOLS_NOT_SUPPORTED, ""),
        ("response_format requires --enable-structured-output. Restart the server", FORMAT_NOT_SUPPORTED, ""),
        ("invalid JSON schema in format", FORMAT_NOT_SUPPORTED, ""),
        ("Grammar error: Invalid type: nonsense", FORMAT_NOT_SUPPORTED, ""),
        ("max_tokens=100000 cannot be greater than max_model_len=4096.", REQUEST_REJECTED, "max_tokens"),
        ("Conversation roles must alternate user/assistant/", REQUEST_REJECTED, "roles"),
        ("Value error.", REQUEST_REJECTED, ""),
    ],
)
async def test_what_a_server_finds_fault_with_is_named_in_words_of_ours(words: str, code: str, named: str) -> None:
    """Words of vLLM 0.32, Ollama 0.17, llama.cpp and MAX 26.7, as they came."""
    body = {"error": {"message": words, "type": "BadRequestError", "param": None, "code": 400}}
    with pytest.raises(RequestRefused) as refused:
        await Server(httpx.Response(400, json=body)).backend().answer(prompt())
    assert refused.value.code == code
    assert refused.value.detail.endswith(f": it speaks of {named}" if named else refused.value.detail)
    assert ("it speaks of" in refused.value.detail) is bool(named)
    assert words not in refused.value.detail


def told_in_a_stream(error: object) -> httpx.Response:
    text = f"data: {orjson.dumps({'error': error}).decode()}\n\ndata: [DONE]\n\n"
    return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})


async def test_a_request_may_be_refused_within_a_stream() -> None:
    """As vLLM 0.32 does: a failure that others would be made to wait for, if it counted against the server."""
    error = {"message": "Grammar error: Invalid type: nonsense", "type": "BadRequestError", "param": None, "code": 400}
    with pytest.raises(RequestRefused) as refused:
        await Server(told_in_a_stream(error)).backend().answer(prompt())
    assert refused.value.code == FORMAT_NOT_SUPPORTED


@pytest.mark.parametrize("error", [{"message": "CUDA", "code": 500}, {"message": "x", "code": "server_error"}, "no"])
async def test_any_other_error_within_a_stream_is_transient(error: object) -> None:
    with pytest.raises(Transient, match="within the answer"):
        await Server(told_in_a_stream(error)).backend().answer(prompt())


async def test_an_answer_ends_before_its_stop_sequence_though_the_server_goes_on() -> None:
    """As MAX 26.7 streams: the sequence, and a word more."""
    said: list[str] = []
    pieces = [("A mill is", None), (" a", None), (" device", "stop"), (" used", "stop")]
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": finish} for text, finish in pieces]
    lines = [f"data: {orjson.dumps({'choices': [choice]}).decode()}" for choice in choices]
    stream = "\n\n".join([*lines, 'data: {"choices": [], "usage": {"completion_tokens": 6}}', "data: [DONE]", ""])
    server = Server(httpx.Response(200, text=stream, headers={"content-type": "text/event-stream"}))
    answer = await server.backend().answer(prompt(generation=Generation(stop=("device",)), stream=True), said.append)
    assert (answer.text, answer.finish_reason, answer.usage.completion_tokens) == ("A mill is a", "stop", 6)
    assert "".join(said) == answer.text


async def test_an_answer_that_its_server_would_not_stop_is_one_that_stopped() -> None:
    whole = completion("Weekly. Or so.") | {
        "choices": [{"message": {"content": "Weekly. Or so."}, "finish_reason": "length"}]
    }
    answer = await Server(httpx.Response(200, json=whole)).backend().answer(prompt(generation=Generation(stop=(". ",))))
    assert (answer.text, answer.finish_reason) == ("Weekly", "stop")


@pytest.mark.parametrize(("status", "kind"), [(500, Faulted), (501, Faulted), (502, Transient), (503, Transient)])
async def test_a_server_that_answers_with_an_error_is_told_from_none(status: int, kind: type[Transient]) -> None:
    with pytest.raises(Transient) as failed:
        await Server(httpx.Response(status)).backend().answer(prompt())
    assert type(failed.value) is kind


async def test_a_number_that_cannot_be_passed_on_is_the_requests_fault() -> None:
    with pytest.raises(RequestRefused) as refused:
        await Server().backend().answer(prompt(generation=Generation(seed=2**70)))
    assert refused.value.code == REQUEST_REJECTED


def ended(finish: str, text: str = "") -> httpx.Response:
    choice = {"message": {"content": text}, "finish_reason": finish}
    return httpx.Response(200, json={"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 5}})


@pytest.mark.parametrize("passages", [[], [KEYS]])
async def test_thinking_may_use_up_all_the_room(passages: list[Passage]) -> None:
    answer = await Server(ended("length", "<think>on and on")).backend().answer(prompt(passages=passages))
    assert (answer.text, answer.finish_reason, answer.usage.completion_tokens) == ("", "length", 5)


async def test_a_model_that_says_nothing_is_left_for_one_that_quotes() -> None:
    with pytest.raises(NothingSaid):
        await Server(ended("stop")).backend().answer(prompt(passages=[KEYS]))
    assert (await Server(ended("stop")).backend().answer(prompt())).text == ""


async def test_a_huge_refusal_is_not_read() -> None:
    with pytest.raises(RequestRefused) as refused:
        await (
            Server(httpx.Response(400, text='{"error": "context length' + " " * 100_000 + '"}'))
            .backend()
            .answer(prompt())
        )
    assert refused.value.code == REQUEST_REJECTED


def adapters(*names: str) -> httpx.Response:
    return httpx.Response(200, json={"data": [{"id": name} for name in names]})


async def test_an_adapter_that_the_server_lists_is_asked_for_by_its_name() -> None:
    server = Server(adapters("tiny", "support-lora"), httpx.Response(200, json=completion()))
    backend = server.backend()
    assert await backend.serves("support-lora")
    assert not await backend.serves("gpt-9")
    answer = await backend.answer(prompt(model="support-lora"))
    assert answer.model == orjson.loads(server.requests[-1].content)["model"] == "support-lora"
    assert answer.adapter == "support-lora"
    assert [request.url.path for request in server.requests] == ["/v1/models", "/v1/chat/completions"]


async def test_its_names_are_its_own_those_of_the_settings_and_what_the_server_lists() -> None:
    server = Server(adapters("tiny", "support-lora"))
    backend = server.backend(SETTINGS.model_copy(update={"models": ("quiet-lora",)}))
    for _ in range(2):
        assert await backend.names() == {"tiny", "support-lora", "quiet-lora"}
    assert len(server.requests) == 1, "a list is believed for a while"
    for status in (400, 401):
        with pytest.raises(Permanent):
            await Server(httpx.Response(status)).backend().names()


async def test_names_of_the_settings_need_no_list() -> None:
    backend = Server().backend(SETTINGS.model_copy(update={"models": ("support-lora",)}))
    for name in ("tiny", "openai", "support-lora"):
        assert await backend.serves(name)


async def test_a_foreign_name_is_answered_as_the_own_model() -> None:
    server = Server(httpx.Response(200, json=completion()))
    assert (await server.backend().answer(prompt(model="somebody-elses"))).model == "tiny"


async def test_a_server_that_cannot_be_asked_for_its_models_is_transient() -> None:
    with pytest.raises(Transient):
        await Server(httpx.Response(200, text="<html>")).backend().serves("support-lora")


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("no"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut")]
)
async def test_a_broken_connection_is_transient(error: httpx.TransportError) -> None:
    with pytest.raises(Transient, match=type(error).__name__):
        await Server(error).backend().answer(prompt())


@pytest.mark.parametrize(
    "content",
    [b"<html>starting</html>", b"{}", b'{"choices": []}', orjson.dumps(completion(None)), b'{"choices": [{}]}'],
)
async def test_what_is_no_completion_is_transient(content: bytes) -> None:
    with pytest.raises(Transient):
        await Server(httpx.Response(200, content=content)).backend().answer(prompt(passages=[KEYS]))


async def test_usage_is_optional() -> None:
    body = completion()
    del body["usage"]
    assert (await Server(httpx.Response(200, json=body)).backend().answer(prompt())).usage == Usage()


async def test_no_request_after_the_deadline() -> None:
    server = Server()
    with pytest.raises(Transient, match="deadline"):
        await server.backend().answer(prompt(within=timedelta(seconds=-1)))
    assert server.requests == []


async def test_the_deadline_bounds_the_time_out() -> None:
    server = Server(httpx.Response(200, json=completion()))
    await server.backend().answer(prompt(within=timedelta(seconds=3)))
    times = server.requests[0].extensions["timeout"]
    assert 2 < times["read"] <= 3
    assert times["connect"] <= 3


async def wait_asked_by(value: str) -> float:
    with pytest.raises(Transient) as asked:
        await Server(httpx.Response(429, headers={"retry-after": value})).backend().answer(prompt())
    assert asked.value.retry_after is not None
    return asked.value.retry_after


async def test_the_wait_that_a_server_asks_for_is_kept() -> None:
    assert await wait_asked_by("7") == 7
    assert 90 < await wait_asked_by(format_datetime(now() + timedelta(seconds=100), usegmt=True)) <= 100
    assert await wait_asked_by(format_datetime(now() - timedelta(seconds=100), usegmt=True)) == 0


@pytest.mark.parametrize("value", ["", "soon", "-1"])
async def test_a_malformed_wait_is_none(value: str) -> None:
    with pytest.raises(Transient) as asked:
        await Server(httpx.Response(503, headers={"retry-after": value})).backend().answer(prompt())
    assert asked.value.retry_after is None
