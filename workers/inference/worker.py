"""Answers prompts.

consumes   chat.prompts   key: workspace/conversation
           chat.cancels   in every process, without a group
publishes  chat.replies   the words as they are written, if the asker reads along, and one that ends the request, to the
                          partition that the asker reads
           interactions   one per chat turn, for history and learning
"""

from collections.abc import Iterable

from infra.errors import Permanent
from infra.kafka.worker import Delivery, Outgoing, Worker
from infra.queueing.held import HELD, TAKEN_UP
from schemas.chat import WORKER_FAILED, ChatPrompt
from schemas.dead_letters import Reason
from topics.catalogue import CHAT_CANCELS, CHAT_PROMPTS, CHAT_REPLIES, INTERACTIONS
from workers.inference.outcome import Outcome
from workers.inference.reply import interaction_of, reply_of
from workers.inference.tools import WORKER, Tools, open_tools, told

worker = Worker(WORKER, tools=open_tools, publishes=(CHAT_REPLIES, INTERACTIONS), follows=(CHAT_CANCELS,), limits=HELD)


def _told(delivery: Delivery[ChatPrompt]) -> Iterable[Outgoing]:
    """Tell whoever waits for a prompt that is a dead letter now; where nobody can read it, nobody waits."""
    partition = delivery.body.request.reply_to.partition
    if partition >= CHAT_REPLIES.partitions:
        return []
    reply = reply_of(delivery.body, Outcome(WORKER_FAILED))
    return [Outgoing(CHAT_REPLIES, reply, delivery, partition=partition)]


@worker.handles_each(CHAT_PROMPTS, concurrency=TAKEN_UP, buried=_told)
async def infer(delivery: Delivery[ChatPrompt], tools: Tools) -> Iterable[Outgoing]:
    """Answer, or say why not: every prompt ends with one reply, whose event id a redelivery repeats.

    Raises Permanent for a prompt that names no partition of replies: nobody could read the answer, so none is made.
    """
    prompt = delivery.body
    if prompt.request.reply_to.partition >= CHAT_REPLIES.partitions:
        raise Permanent(Reason.SCHEMA_VIOLATION, "reply_to.partition: there is no such partition of replies")
    outcome, sequence = await told(delivery, tools)
    reply = reply_of(prompt, outcome, sequence)
    published = [Outgoing(CHAT_REPLIES, reply, delivery, partition=prompt.request.reply_to.partition)]
    if prompt.request.purpose == "chat" and prompt.request.replay_of is None:
        interaction = interaction_of(prompt, reply, outcome, delivery.origin)
        published.append(Outgoing(INTERACTIONS, interaction, delivery))
    return published
