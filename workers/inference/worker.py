"""Answers prompts.

consumes   chat.prompts   key: workspace/conversation
publishes  chat.replies   one that ends the request, to the partition that the asker reads
           interactions   one per chat turn, for history and learning
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from infra.kafka.worker import Delivery, Outgoing, Worker
from infra.settings import load
from schemas.chat import ChatPrompt
from topics.catalogue import CHAT_CANCELS, CHAT_PROMPTS, CHAT_REPLIES, INTERACTIONS
from workers.inference.answer import Answerer
from workers.inference.backends.choice import open_backends
from workers.inference.reply import interaction_of, reply_of
from workers.inference.settings import PARTITION_CONCURRENCY, InferenceSettings


@asynccontextmanager
async def open_answerer() -> AsyncIterator[Answerer]:
    """Open the backends that the environment names."""
    settings = load(InferenceSettings)
    answerer = Answerer(open_backends(settings), settings)
    try:
        yield answerer
    finally:
        await answerer.close()


worker = Worker("inference", tools=open_answerer, publishes=(CHAT_REPLIES, INTERACTIONS), follows=(CHAT_CANCELS,))


@worker.handles_each(CHAT_PROMPTS, concurrency=PARTITION_CONCURRENCY)
async def infer(delivery: Delivery[ChatPrompt], answerer: Answerer) -> Iterable[Outgoing]:
    """Answer, or say why not: every prompt ends with one reply, whose event id a redelivery repeats."""
    prompt = delivery.body
    reply = reply_of(prompt, await answerer.outcome(prompt))
    published = [Outgoing(CHAT_REPLIES, reply, delivery, partition=prompt.request.reply_to.partition)]
    if prompt.request.purpose == "chat":
        published.append(Outgoing(INTERACTIONS, interaction_of(prompt, reply), delivery))
    return published
