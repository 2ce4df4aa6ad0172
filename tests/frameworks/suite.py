"""LangChain and LlamaIndex against a running gateway, with nothing of ours but its address and a key.

    MILLRACE_URL=http://127.0.0.1:8080 MILLRACE_KEY=mr_… python suite.py

Runs in an environment of its own (`requirements.lock`): these frameworks hold other releases of OpenAI's client than
the one that the gateway is tested with. Behind the gateway stands the server of tests/live/gateway/clients/vendor.py.
Prints a line per case, in the Test Anything Protocol; the exit status is 1 if one fails.
"""

import asyncio
import os
import sys
import traceback
from collections.abc import Callable

from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

BASE = f"{os.environ['MILLRACE_URL']}/v1"
KEY = os.environ["MILLRACE_KEY"]
QUESTION = "How often are the signing keys rotated?"
TOLD = f"You asked: {QUESTION} [1] 👋"
DIMENSION = 64

Case = Callable[[], None]
CASES: list[Case] = []


class Days(BaseModel):
    """What a model is to fill in."""

    days: int


def days_left(days: int) -> str:
    """Return the days that are left."""
    return str(days * 2)


def case(function: Case) -> Case:
    """Add a case to the suite."""
    CASES.append(function)
    return function


def langchain(**options: object) -> ChatOpenAI:
    """Return LangChain's model."""
    return ChatOpenAI(base_url=BASE, api_key=KEY, model="millrace", max_retries=0, timeout=90, **options)


def llama_index() -> OpenAILike:
    """Return LlamaIndex's model. A new one for each loop: its client stays with the first."""
    known = {"is_chat_model": True, "is_function_calling_model": True, "context_window": 4_096}
    return OpenAILike(api_base=BASE, api_key=KEY, model="millrace", max_retries=0, timeout=90, **known)


@case
def langchain_answers() -> None:
    answer = langchain(temperature=0.5).invoke([SystemMessage("Be brief."), HumanMessage(QUESTION)])
    assert answer.content == TOLD
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.usage_metadata["output_tokens"] == len(TOLD.split())


@case
def langchain_streams() -> None:
    chunks = list(langchain(stream_usage=True).stream(QUESTION))
    assert "".join(chunk.content for chunk in chunks) == TOLD
    assert len([chunk for chunk in chunks if chunk.content]) > 1
    assert [chunk.usage_metadata["output_tokens"] for chunk in chunks if chunk.usage_metadata] == [len(TOLD.split())]


@case
def langchain_answers_several_at_once() -> None:
    answers = langchain().batch([QUESTION, "Who?"])
    assert [answer.content for answer in answers] == [TOLD, "You asked: Who? [1] 👋"]


@case
def langchain_answers_in_a_loop() -> None:
    async def asked() -> tuple[str, str]:
        model = langchain()
        whole = (await model.ainvoke(QUESTION)).content
        return whole, "".join([chunk.content async for chunk in model.astream(QUESTION)])

    assert asyncio.run(asked()) == (TOLD, TOLD)


@case
def langchain_keeps_to_a_schema() -> None:
    for method in ("json_schema", "function_calling"):
        assert langchain().with_structured_output(Days, method=method).invoke(QUESTION) == Days(days=7)


def _round(model: object) -> BaseMessage:
    messages: list[BaseMessage] = [HumanMessage(QUESTION)]
    messages.append(model.invoke(messages))
    called = messages[-1].tool_calls
    assert [(call["name"], call["args"]) for call in called] == [("days_left", {"days": 7})]
    messages += [tool(days_left).invoke(call) for call in called]
    return model.invoke(messages)


@case
def langchain_calls_a_tool() -> None:
    assert _round(langchain().bind_tools([tool(days_left)])).content == "The tool returned 14 ."


@case
def langchain_calls_a_tool_in_a_stream() -> None:
    whole: AIMessageChunk | None = None
    for chunk in langchain().bind_tools([tool(days_left)]).stream(QUESTION):
        whole = chunk if whole is None else whole + chunk
    assert [(call["name"], call["args"]) for call in whole.tool_calls] == [("days_left", {"days": 7})]


@case
def langchain_reads_responses() -> None:
    model = langchain(use_responses_api=True)
    (block,) = model.invoke(QUESTION).content
    assert block["text"] == TOLD
    assert [TOLD[each["start_index"] : each["end_index"]] for each in block["annotations"]] == ["[1]"]
    streamed = [each for chunk in model.stream(QUESTION) for each in chunk.content]
    assert "".join(each.get("text", "") for each in streamed) == TOLD
    assert _round(model.bind_tools([tool(days_left)])).content[0]["text"] == "The tool returned 14 ."


@case
def langchain_reads_embeddings() -> None:
    # Without the option it sends tokens of OpenAI's vocabulary, which no other encoder reads (docs/api.md).
    options = {"model": "millrace-embeddings", "check_embedding_ctx_length": False, "max_retries": 0}
    vectors = OpenAIEmbeddings(base_url=BASE, api_key=KEY, **options).embed_documents(["one", "two"])
    assert [len(vector) for vector in vectors] == [DIMENSION, DIMENSION]
    assert vectors[0] != vectors[1]


@case
def llama_index_answers() -> None:
    model = llama_index()
    assert model.complete(QUESTION).text == TOLD
    told = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content=QUESTION)]
    assert model.chat(told).message.content == TOLD


@case
def llama_index_streams() -> None:
    model = llama_index()
    assert "".join(part.delta for part in model.stream_complete(QUESTION)) == TOLD
    assert "".join(part.delta for part in model.stream_chat([ChatMessage(role="user", content=QUESTION)])) == TOLD


@case
def llama_index_answers_in_a_loop() -> None:
    async def asked() -> tuple[str, str]:
        model, told = llama_index(), [ChatMessage(role="user", content=QUESTION)]
        streamed = "".join([part.delta async for part in await model.astream_chat(told)])
        return str((await model.achat(told)).message.content), streamed

    assert asyncio.run(asked()) == (TOLD, TOLD)


@case
def llama_index_keeps_to_a_schema() -> None:
    assert llama_index().as_structured_llm(Days).complete(QUESTION).raw == Days(days=7)


@case
def llama_index_calls_a_tool() -> None:
    model, function = llama_index(), FunctionTool.from_defaults(fn=days_left)
    (call,) = model.get_tool_calls_from_response(model.chat_with_tools([function], user_msg=QUESTION))
    assert (call.tool_name, call.tool_kwargs) == ("days_left", {"days": 7})


@case
def llama_index_runs_an_agent() -> None:
    async def ran(*, streaming: bool) -> str:
        tools = [FunctionTool.from_defaults(fn=days_left)]
        return str(await FunctionAgent(tools=tools, llm=llama_index(), streaming=streaming).run(QUESTION))

    for streaming in (False, True):
        assert asyncio.run(ran(streaming=streaming)) == "The tool returned 14 ."


@case
def llama_index_reads_embeddings() -> None:
    model = OpenAILikeEmbedding(api_base=BASE, api_key=KEY, model_name="millrace-embeddings", max_retries=0)
    assert len(model.get_query_embedding("one")) == DIMENSION
    assert [len(vector) for vector in model.get_text_embedding_batch(["one", "two"])] == [DIMENSION, DIMENSION]


def main() -> int:
    """Run all cases; return the exit status."""
    failed = 0
    print(f"1..{len(CASES)}")
    for number, each in enumerate(CASES, 1):
        try:
            each()
        except Exception:  # noqa: BLE001 - told, and the others go on
            failed += 1
            print(f"not ok {number} - {each.__name__}\n{traceback.format_exc()}")
        else:
            print(f"ok {number} - {each.__name__}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
