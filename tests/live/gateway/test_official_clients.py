"""OpenAI's own clients, Python and JavaScript, with nothing of ours but address and key.

Behind the gateway run the real retriever, inference and archivist, a vector index with a document, and a vendor's
server that repeats what it is asked.
"""

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import numpy as np
import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel, SecretStr

from infra.models.hashed import HashEncoder
from infra.postgres.indexes import Index, register
from infra.postgres.keys import create_key
from infra.postgres.migrate import upgrade
from infra.postgres.pool import open_pool
from infra.qdrant.client import open_client
from infra.qdrant.collections import ensure_collection
from infra.settings import PostgresSettings, QdrantSettings
from tests.events import document
from tests.eventually import eventually
from tests.live.gateway.conftest import Environment, Gateway, running
from tests.live.gateway.vendor import Vendor
from tests.live.postgres.databases import database_of_its_own
from tests.live.workers.retriever.library import Library
from tests.unit.gateway.serving import serving
from workers.retriever.embed import QuestionEmbedder

WORKSPACE = f"clients-{uuid4().hex[:8]}"
KEYS = "Secrets live in the vault. The signing keys are rotated every ninety days. Ask the platform team for access."
QUESTION = "How often are the signing keys rotated?"
TOLD = f"You asked: {QUESTION} [1] 👋"
MESSAGES: Any = [{"role": "user", "content": QUESTION}]
SCHEMA = {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]}
TOOLS: Any = [{"type": "function", "function": {"name": "days_left", "parameters": SCHEMA}}]
JAVASCRIPT = Path(__file__).parents[2] / "js"
PROGRAMS = Path(sys.executable).parent

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
async def vendor() -> Vendor:
    return Vendor()


@pytest.fixture(scope="module")
async def vendors_url(vendor: Vendor) -> AsyncIterator[str]:
    async with serving(vendor.app()) as url:  # type: ignore[arg-type]
        yield url


@pytest.fixture(scope="module")
async def surroundings(surroundings: Environment, postgres: Environment) -> AsyncIterator[Environment]:
    """With a database of this file's own: its first index is the live one."""
    async with database_of_its_own(postgres["POSTGRES_DSN"]) as dsn:
        await upgrade(dsn)
        yield surroundings | {"POSTGRES_DSN": dsn}


@pytest.fixture(scope="module")
async def pool(surroundings: Environment) -> AsyncIterator[asyncpg.Pool]:
    async with open_pool(PostgresSettings(dsn=surroundings["POSTGRES_DSN"], pool_size=4)) as opened:
        yield opened


@pytest.fixture(scope="module")
async def indexed(pool: asyncpg.Pool, door: Environment) -> None:
    """A live index that holds one document of the workspace."""
    settings = QdrantSettings(url=door["QDRANT_URL"], api_key=SecretStr(door["QDRANT_API_KEY"]), timeout_s=30)
    collection = f"clients-{uuid4().hex[:8]}"
    async with open_client(settings) as client:
        await ensure_collection(client, collection, 64)
        library = Library(client, collection, HashEncoder(), QuestionEmbedder())
        await library.add(document(KEYS, workspace=WORKSPACE, external_id="keys", title="Keys"))
    registered = await register(pool, Index(collection, collection, "hash-64", 64))
    assert registered.state == "live"


@pytest.fixture(scope="module")
async def stack(
    surroundings: Environment,
    door: Environment,
    indexed: None,
    vendors_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Gateway]:
    """The gateway, with the workers that answer it in one process."""
    folder = tmp_path_factory.mktemp("clients")
    told = surroundings | {name: door[name] for name in ("QDRANT_URL", "QDRANT_API_KEY")}
    told |= {"MILLRACE_ENCODER": "hash", "INFERENCE_URL": vendors_url, "MILLRACE_INSTANCE": "clients"}
    told |= {"INFERENCE_CHUNK_TIMEOUT_S": "60", "INFERENCE_FIRST_TIMEOUT_S": "60"}
    output = folder / "workers.log"
    with output.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "workers.host", "retriever", "inference", "archivist"),
            env=os.environ | told,
            stdout=log,
            stderr=log,
        )
    try:
        async with running(told, folder) as gateway:
            yield gateway
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 60)
        assert process.returncode == 0, output.read_text()[-4_000:]


@pytest.fixture(scope="module")
async def key(pool: asyncpg.Pool) -> str:
    return (await create_key(pool, WORKSPACE, "test")).key


@pytest.fixture(scope="module")
async def answering(stack: Gateway, key: str) -> str:
    """The address of the gateway once it gives answers."""
    async with stack.client(key) as client:

        async def answers() -> bool:
            body = {"model": "millrace", "messages": MESSAGES}
            return (await client.post("/v1/chat/completions", json=body, timeout=90)).status_code == 200

        await eventually(answers, within=180)
    return stack.url


@pytest.fixture
async def client(answering: str, key: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{answering}/v1", api_key=key, max_retries=0, timeout=90) as opened:
        yield opened


async def test_a_whole_answer(client: AsyncOpenAI, vendor: Vendor) -> None:
    answer = await client.chat.completions.create(model="millrace", messages=MESSAGES, temperature=0.5, seed=7)
    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason, answer.model) == (TOLD, "stop", "vendor-1")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == len(TOLD.split())
    assert choice.message.annotations is not None
    cited = choice.message.annotations[0].url_citation
    assert TOLD[cited.start_index : cited.end_index] == "[1]"
    assert (cited.title, (answer.model_extra or {})["millrace"]["citations"][0]["title"]) == ("Keys", "Keys")
    assert (vendor.bodies[-1]["temperature"], vendor.bodies[-1]["seed"]) == (0.5, 7)


async def test_a_stream(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="millrace", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == TOLD
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == len(TOLD.split())


async def test_limits_of_the_answer(client: AsyncOpenAI) -> None:
    cut = await client.chat.completions.create(model="millrace", messages=MESSAGES, max_completion_tokens=2)
    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == ("You asked:", "length")
    stopped = await client.chat.completions.create(model="millrace", messages=MESSAGES, stop=" often")
    assert stopped.choices[0].message.content == "You asked: How"


class Days(BaseModel):
    days: int


async def test_a_json_schema_is_kept_to(client: AsyncOpenAI) -> None:
    parsed = await client.chat.completions.parse(model="millrace", messages=MESSAGES, response_format=Days)
    assert parsed.choices[0].message.parsed == Days(days=7)
    response = await client.responses.parse(model="millrace", input=QUESTION, text_format=Days)
    assert response.output_parsed == Days(days=7)
    plain = await client.chat.completions.create(
        model="millrace", messages=MESSAGES, response_format={"type": "json_object"}
    )
    assert json.loads(plain.choices[0].message.content or "") == {}


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_is_called_and_its_result_answered_from(client: AsyncOpenAI, streamed: bool) -> None:
    if streamed:
        async with client.chat.completions.stream(model="millrace", messages=MESSAGES, tools=TOOLS) as stream:
            choice: Any = (await stream.get_final_completion()).choices[0]
    else:
        choice = (await client.chat.completions.create(model="millrace", messages=MESSAGES, tools=TOOLS)).choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "" if streamed else None)
    (call,) = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("days_left", {"days": 7})
    told: Any = [
        {"role": "assistant", "tool_calls": [{"id": call.id, "type": "function", "function": call.function.to_dict()}]},
        {"role": "tool", "tool_call_id": call.id, "content": "90"},
    ]
    for each in told[0]["tool_calls"]:
        each["function"] = {name: each["function"][name] for name in ("name", "arguments")}
    answer = await client.chat.completions.create(model="millrace", messages=[*MESSAGES, *told], tools=TOOLS)
    assert answer.choices[0].message.content == "The tool returned 90 ."


async def test_models(client: AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["millrace", "millrace-embeddings", "hash-64"]
    assert (await client.models.retrieve("hash-64")).owned_by == "millrace"
    answer = await client.chat.completions.create(model="vendor-lora", messages=MESSAGES)
    assert answer.model == "vendor-lora"


async def test_embeddings_are_those_of_the_index(client: AsyncOpenAI) -> None:
    texts = [f"the mill wheel number {number}" for number in range(100)]
    expected = await HashEncoder().encode_documents(texts)
    given = await client.embeddings.create(model="millrace-embeddings", input=texts)
    assert np.array_equal(np.asarray([each.embedding for each in given.data], np.float32), expected)
    plain = await client.embeddings.create(model="hash-64", input=texts[3], encoding_format="float")
    assert np.array_equal(np.asarray(plain.data[0].embedding, np.float32), expected[3])
    assert (plain.model, plain.usage.total_tokens) == ("hash-64", 4)


async def test_two_thousand_embeddings_at_once(client: AsyncOpenAI) -> None:
    """As many as one request may hold."""
    texts = [f"wheel {number}" for number in range(2_048)]
    given = await client.embeddings.create(model="millrace-embeddings", input=texts)
    assert np.array_equal(
        np.asarray([each.embedding for each in given.data], np.float32), await HashEncoder().encode_documents(texts)
    )


async def test_a_response_and_one_that_goes_on_from_it(client: AsyncOpenAI, vendor: Vendor) -> None:
    first = await client.responses.create(model="millrace", input=QUESTION, instructions="Be brief.")
    assert (first.status, first.output_text) == ("completed", TOLD)
    assert first.usage is not None
    assert first.usage.output_tokens == len(TOLD.split())
    async with client.responses.stream(
        model="millrace", input="And who rotates them?", previous_response_id=first.id
    ) as stream:
        deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        second = await stream.get_final_response()
    assert second.output_text == "".join(deltas)
    assert second.output_text.startswith("You asked: And who rotates them?")
    told = [message["content"] for message in vendor.bodies[-1]["messages"]]
    assert told[1:3] == [QUESTION, TOLD]
    assert "Be brief." not in told[0]


async def test_a_response_calls_a_function_and_is_answered_from_its_result(client: AsyncOpenAI) -> None:
    functions: Any = [{"type": "function", "name": "days_left", "parameters": SCHEMA, "strict": True}]
    async with client.responses.stream(model="millrace", input=MESSAGES, tools=functions) as stream:
        first = await stream.get_final_response()
    (call,) = first.output
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments)) == ("days_left", {"days": 7})
    given: Any = [*MESSAGES, call.to_dict(), {"type": "function_call_output", "call_id": call.call_id, "output": "90"}]
    second = await client.responses.create(model="millrace", input=given, tools=functions)
    assert second.output_text == "The tool returned 90 ."


async def test_a_response_that_is_cut(client: AsyncOpenAI) -> None:
    cut = await client.responses.create(model="millrace", input=QUESTION, max_output_tokens=2)
    assert (cut.status, cut.output_text) == ("incomplete", "You asked:")


async def test_a_wrong_key(answering: str) -> None:
    key = f"mr_{'a' * 12}_{'1' * 64}"
    async with AsyncOpenAI(base_url=f"{answering}/v1", api_key=key, max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.chat.completions.create(model="millrace", messages=MESSAGES)
        with pytest.raises(openai.AuthenticationError):
            await stranger.embeddings.create(model="millrace-embeddings", input="a")


async def test_an_unknown_model(client: AsyncOpenAI) -> None:
    for asked in (
        client.chat.completions.create(model="gpt-9", messages=MESSAGES),
        client.chat.completions.create(model="gpt-9", messages=MESSAGES, stream=True),
        client.responses.create(model="gpt-9", input="a"),
        client.embeddings.create(model="gpt-9", input="a"),
        client.models.retrieve("gpt-9"),
    ):
        with pytest.raises(openai.NotFoundError) as refused:
            await asked  # type: ignore[misc]
        assert refused.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"messages": "hello"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": "x"}] * 10_000}, "messages"),
        ({"max_tokens": -5}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"n": 3}, "n"),
        ({"stop": 7}, "stop"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"millrace": {"top_k": -1}}, "millrace.top_k"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_bad_request_names_the_field(client: AsyncOpenAI, wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(model="millrace", messages=MESSAGES, extra_body=wrong)
    assert (refused.value.code, refused.value.param) == ("invalid_request", param)


async def test_a_message_of_10_mb(client: AsyncOpenAI) -> None:
    huge: Any = [{"role": "user", "content": "x" * 10_000_000}]
    with pytest.raises(openai.APIStatusError) as refused:
        await client.chat.completions.create(model="millrace", messages=huge)
    assert (refused.value.status_code, refused.value.code) == (413, "payload_too_large")


async def test_who_calls_no_tools_says_so(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(model="extractive", messages=MESSAGES, tools=TOOLS)
    assert refused.value.code == "tools_not_supported"
    quoted = await client.chat.completions.create(
        model="extractive", messages=MESSAGES, tools=TOOLS, tool_choice="none"
    )
    assert "ninety days" in (quoted.choices[0].message.content or "")


@pytest.fixture(scope="module")
async def javascript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite with its client, as the lock file has it."""
    folder = tmp_path_factory.mktemp("js") / "suite"
    shutil.copytree(JAVASCRIPT, folder, ignore=shutil.ignore_patterns("node_modules"))
    code, output = await program(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    assert code == 0, output
    return folder


async def program(folder: Path, *command: str, **told: str) -> tuple[int | None, str]:
    """Run one of the programs that came with Node's wheel. It trusts the machine's authorities: a company's proxy signs
    with one of those.
    """
    path = os.pathsep.join((str(PROGRAMS), os.environ.get("PATH", "")))
    process = await asyncio.create_subprocess_exec(
        *(str(PROGRAMS / command[0]), *command[1:]),
        cwd=folder,
        env=os.environ | {"PATH": path, "NODE_OPTIONS": "--use-system-ca"} | told,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_the_javascript_client(answering: str, key: str, javascript: Path) -> None:
    command = ("node", "--test", "--test-reporter=tap", "suite.mjs")
    code, output = await program(javascript, *command, MILLRACE_URL=answering, MILLRACE_KEY=key)
    assert code == 0, output
    declared = len(re.findall(r"^test\(", (javascript / "suite.mjs").read_text(encoding="utf-8"), re.MULTILINE))
    assert f"# pass {declared}" in output, output
