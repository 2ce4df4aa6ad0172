"""Puts tool calls together from the pieces of a streamed answer.

https://platform.openai.com/docs/guides/function-calling#streaming: the first piece of a call has its id and name, each
further one a part of its arguments; `index` says to which call a piece belongs. Servers that send whole calls leave the
index out, and some the id.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from schemas.chat import FunctionCall, ToolCall
from workers.inference.backends.wire import ToolPiece


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: str = ""


class Calls:
    """The tool calls of one answer."""

    def __init__(self) -> None:
        self._calls: dict[int, _Call] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._calls)

    def add(self, pieces: Iterable[ToolPiece]) -> None:
        """Take the next pieces."""
        for piece in pieces:
            call = self._calls.setdefault(self._place(piece), _Call())
            call.id = call.id or piece.id or ""
            call.name = call.name or piece.function.name or ""
            call.arguments += piece.function.arguments or ""

    def whole(self, request_id: UUID) -> tuple[ToolCall, ...]:
        """Return the calls in their order; one without an id of the server's gets one that a repetition has too."""
        return tuple(
            ToolCall(
                id=call.id or f"call_{request_id.hex}_{place}",
                function=FunctionCall(name=call.name, arguments=call.arguments),
            )
            for place, call in sorted(self._calls.items())
            if call.name
        )

    def _place(self, piece: ToolPiece) -> int:
        if piece.index is not None:
            return piece.index
        last = len(self._calls) - 1
        begins = last < 0 or (piece.id or "") not in ("", self._calls[last].id) or bool(piece.function.name)
        return last + 1 if begins else last
