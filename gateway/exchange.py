"""One question and its answer, for as long as a client of this gateway reads it."""

import asyncio
from collections.abc import Awaitable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from gateway.problems import Code, Problem
from infra.kafka.answers import Part, Replies
from schemas.chat import ChatReply, ReplyError
from schemas.event import now

Result = TypeVar("Result")

GRACE_S = 0.5
"""Waited beyond the deadline for the worker's own word that it passed, which says more than our silence."""

_CODES = {
    "deadline_passed": Code.DEADLINE_PASSED,
    "backend_unavailable": Code.DEPENDENCY_UNAVAILABLE,
    "unknown_model": Code.MODEL_NOT_FOUND,
    "cancelled": Code.CANCELLED,
    "context_length_exceeded": Code.CONTEXT_LENGTH_EXCEEDED,
    "response_format_not_supported": Code.RESPONSE_FORMAT_NOT_SUPPORTED,
    "tools_not_supported": Code.TOOLS_NOT_SUPPORTED,
    "request_rejected": Code.REQUEST_REJECTED,
    # The asker's own: filters that the index cannot read, a text that the encoder cannot.
    "search_refused": Code.REFUSED,
    "text_refused": Code.REFUSED,
}
"""Codes of `ReplyError` that have a problem of their own; any other is `answer_failed`."""


@dataclass
class Exchange:
    """A question on the log, and its replies."""

    workspace: str
    request_id: UUID
    conversation_id: UUID | None
    """None where only the replies know it."""
    accepted_at: datetime
    deadline: datetime
    replies: Replies
    lasting: bool = False
    """Whether its client can come back to it; then a lost connection does not yet mean that nobody wants the answer."""
    came: int | None = 0
    """Clients that came back to it before this one, and this one; None where nobody could count them."""
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def left_s(self) -> float:
        """Seconds for which an answer is still waited for."""
        return (self.deadline - now()).total_seconds() + GRACE_S

    @property
    def wanted(self) -> bool:
        """Whether a worker may still be busy with it."""
        return not self.replies.ended and self.left_s > 0

    async def end(self) -> ChatReply:
        """Wait for the final reply. Raises Problem for one that is an error, and without one in time."""
        try:
            async with asyncio.timeout(max(0, self.left_s)):
                reply = await self.replies.end()
        except TimeoutError as error:
            raise Problem(Code.DEADLINE_PASSED) from error
        if reply.kind == "error":
            raise failed(reply.error)
        return reply

    async def after(self, at: int, within_s: float) -> Part | None:
        """Return what follows the first `at` code points; None if nothing did `within_s` seconds.

        Raises Problem if the time for the answer is over.
        """
        try:
            async with asyncio.timeout(max(0, min(self.left_s, within_s))):
                return await self.replies.after(at)
        except TimeoutError as error:
            if self.left_s <= 0:
                raise Problem(Code.DEADLINE_PASSED) from error
            return None

    def close(self) -> None:
        """Hear no more of it."""
        self.stack.close()


def failed(error: ReplyError | None) -> Problem:
    """Return the problem of a reply that is an error."""
    error = error or ReplyError(code="unknown", detail="the answer failed without a word")
    return Problem(_CODES.get(error.code, Code.ANSWER_FAILED), error.detail, reply_code=error.code)


async def unless_gone(receive: Receive, work: Awaitable[Result]) -> Result:
    """Return what `work` returns. Raises ClientDisconnect, and ends `work`, if the client hangs up before.

    The body must have been read. https://asgi.readthedocs.io/en/latest/specs/www.html#disconnect-receive-event
    Cancels its own task and takes that back, as `asyncio.timeout` does: a task for `work` too would cost as much again.
    """
    own = asyncio.current_task()
    assert own is not None  # noqa: S101 - a coroutine runs in a task
    before, gone = own.cancelling(), False

    def leave(_: "asyncio.Task[None]") -> None:
        nonlocal gone
        gone = True
        own.cancel()

    watching = asyncio.ensure_future(_hung_up(receive))
    watching.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if gone and own.uncancel() <= before:
            raise ClientDisconnect from None
        raise
    finally:
        watching.remove_done_callback(leave)
        watching.cancel()


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
