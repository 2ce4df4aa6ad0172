"""Runs a stored prompt again, to compare the answers: same messages, same sources, a request id of its own.

What is published says that it is a replay: no worker keeps it as a conversation, and none answers it from a cache.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, Literal
from uuid import uuid4

from infra.errors import Permanent, Transient
from infra.kafka.codec import decode, new_envelope
from infra.kafka.producer import Publisher
from infra.kafka.redrive import GoneError, RecordReader
from infra.kafka.replies import ReplyReader
from infra.objects.store import ObjectStore
from schemas.chat import ChatPrompt, ChatReply, ChatRequest
from schemas.dead_letters import Reason
from schemas.envelope import EnvelopeError, Origin
from schemas.event import Event, now
from topics.catalogue import CHAT_PROMPTS, CHAT_REQUESTS, Topic

READY_WITHIN_S = 15.0
GRACE_S = 1.0
"""Waited beyond the deadline for the worker's own word that it passed."""


async def stored_prompt(records: RecordReader, objects: ObjectStore, place: str) -> ChatPrompt:
    """Return the prompt at `place` (`topic:partition:offset`).

    Raises GoneError if the log no longer holds it, Permanent if no prompt can be there, Transient("kafka").
    """
    try:
        at = Origin.parse(place)
    except EnvelopeError as error:
        raise GoneError(f"the prompt's place on the log is not known: {place!r}") from error
    if at.topic != CHAT_PROMPTS.name:
        raise Permanent(Reason.SCHEMA_VIOLATION, f"{at.topic} holds no prompts")
    delivery = await decode(await records.read(CHAT_PROMPTS, at.partition, at.offset), CHAT_PROMPTS, objects)
    if delivery is None:
        raise GoneError("a tombstone stands in the prompt's place")
    prompt: ChatPrompt = delivery.body
    return prompt


class Replaying:
    """Asks again and waits for the replies."""

    def __init__(self, publisher: Publisher, replies: ReplyReader, source: str, within_s: float) -> None:
        self._publisher = publisher
        self._replies = replies
        self._source = source
        self._within_s = within_s

    @classmethod
    @asynccontextmanager
    async def open(
        cls, bootstrap: Sequence[str], publisher: Publisher, objects: ObjectStore, source: str, within_s: float
    ) -> AsyncIterator["Replaying"]:
        """Yield one that hears replies. Raises Transient("kafka")."""
        async with AsyncExitStack() as stack:
            replies = await ReplyReader.open(bootstrap, f"{source}:{uuid4()}", objects)
            stack.push_async_callback(replies.close)
            await replies.wait_ready(READY_WITHIN_S)
            yield cls(publisher, replies, source, within_s)

    async def answer(self, prompt: ChatPrompt) -> ChatReply:
        """Return the answer to `prompt` as it stands. Raises Transient, also without an answer in time."""
        request = self._again(prompt.request, "query")
        return await self._asked(CHAT_PROMPTS, prompt.model_copy(update={"request": request}), request)

    async def found(self, prompt: ChatPrompt) -> ChatReply:
        """Return what is retrieved for its question now. Raises as `answer`."""
        request = self._again(prompt.request, "search")
        return await self._asked(CHAT_REQUESTS, request, request)

    def _again(self, request: ChatRequest, purpose: Literal["query", "search"]) -> ChatRequest:
        moment = now()
        return request.model_copy(
            update={
                "request_id": uuid4(),
                "replay_of": request.replay_of or request.request_id,
                "purpose": purpose,
                "reply_to": self._replies.reply_to,
                "accepted_at": moment,
                "deadline": moment + timedelta(seconds=self._within_s),
                "stream": False,
                "idempotency_key": "",
            }
        )

    async def _asked(self, topic: Topic[Any], body: Event, request: ChatRequest) -> ChatReply:
        envelope = new_envelope(body, id=request.request_id, source=self._source, cause=request.replay_of)
        with self._replies.expect(request.request_id, request.workspace) as replies:
            await self._publisher.publish(topic, body, envelope)
            try:
                async with asyncio.timeout(self._within_s + GRACE_S):
                    return await replies.end()
            except TimeoutError as error:
                raise Transient("workers", f"no reply within {self._within_s:g} s") from error
