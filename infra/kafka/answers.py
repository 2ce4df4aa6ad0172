"""One answer, put together from its reply events as they come.

A worker that dies while it writes is followed by another one that begins again at sequence 0, and cuts its text into
other pieces: sequence numbers tell the pieces of one try apart, not those of two. What has been told is therefore
counted in code points of the text. A new try adds to it where its text goes beyond what was told, and only there.
"""

import asyncio
from dataclasses import dataclass

from infra.errors import Permanent, Transient
from infra.kafka.codec import Record, decode
from infra.objects.store import ObjectStore
from infra.telemetry.logs import logger
from infra.telemetry.metrics import Metric, count
from schemas.chat import ChatReply, ReplyError
from topics.catalogue import CHAT_REPLIES

log = logger(__name__)

ANSWER_CHANGED = "answer_changed"


async def reply_in(record: Record, objects: ObjectStore) -> ChatReply | None:
    """Return the reply in a record of `chat.replies`; None, counted and logged, for what is none."""
    try:
        delivery = await decode(record, CHAT_REPLIES, objects)
    except (Permanent, Transient) as error:
        count(Metric.REPLIES_DROPPED_TOTAL, "unreadable")
        log.warning("unreadable reply", offset=record.offset, cause=str(error))
        return None
    reply: ChatReply | None = None if delivery is None else delivery.body
    return reply


@dataclass(frozen=True, slots=True)
class Part:
    """New text of an answer, and its end where this part is the last."""

    text: str
    at: int
    """Code points of the answer up to and including this part: whoever has these goes on from here."""
    end: ChatReply | None = None


class Replies:
    """The replies to one request. Memory is bounded by the answer itself, however slowly it is read."""

    def __init__(self, workspace: str) -> None:
        self.workspace = workspace
        self.caught_up = asyncio.Event()
        """Set once everything has been put that was on the log when this was asked for; used by `ReplyLog`."""
        self._try = ""
        self._next = 0
        self._whole = ""
        self._end: ChatReply | None = None
        self._news = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether the last reply is there."""
        return self._end is not None

    @property
    def last(self) -> ChatReply | None:
        """The reply that ends the request, if it is there."""
        return self._end

    @property
    def told(self) -> str:
        """The answer so far."""
        return self._whole if self._end is None else self._end.text

    def put(self, reply: ChatReply) -> None:
        """Take a reply. One seen before, or one that leaves a gap, is dropped and counted: the end holds it all."""
        if self._end is not None:
            count(Metric.REPLIES_DROPPED_TOTAL, "repeated")
            return
        if reply.kind != "delta":
            self._end = reply
        elif not self._written(reply):
            count(Metric.REPLIES_DROPPED_TOTAL, "repeated")
            return
        self._news.set()

    async def end(self) -> ChatReply:
        """Wait for the reply that ends the request. Bound the wait with `asyncio.timeout`."""
        while self._end is None:
            await self._next_news()
        return self._end

    async def after(self, at: int) -> Part:
        """Wait for text beyond the first `at` code points, or for the end. Safe to cancel and to ask again.

        The final reply is what counts: if its text does not begin with what was told, the end is an error
        `answer_changed`, for two answers must not be glued together.
        """
        while self._end is None and len(self._whole) <= at:
            await self._next_news()
        if self._end is None:
            return Part(self._whole[at:], len(self._whole))
        if self._end.kind == "error":
            return Part(self._whole[at:], max(at, len(self._whole)), self._end)
        if not self._end.text.startswith(self._whole[:at]) or len(self._end.text) < at:
            return Part("", at, _changed(self._end))
        return Part(self._end.text[at:], len(self._end.text), self._end)

    def _written(self, reply: ChatReply) -> bool:
        if reply.sequence == 0:
            self._try, self._next = "", 0
        if reply.sequence != self._next:
            return False
        self._try += reply.text
        self._next += 1
        if len(self._try) > len(self._whole) and self._try.startswith(self._whole):
            self._whole = self._try
        return True

    async def _next_news(self) -> None:
        self._news.clear()
        await self._news.wait()


def _changed(end: ChatReply) -> ChatReply:
    error = ReplyError(code=ANSWER_CHANGED, detail="the answer was written anew and differs: ask for it as a whole")
    return end.model_copy(update={"kind": "error", "text": "", "citations": (), "error": error})
