"""Compares an answer with its replay. No I/O."""

import re
from collections.abc import Mapping, Sequence
from difflib import unified_diff
from typing import Any

from schemas.chat import ChatReply, Passage
from schemas.ids import point_id

_SENTENCE = re.compile(r"(?<=[.!?…])\s+|\n+")


def answers(before: str, reply: ChatReply) -> dict[str, Any]:
    """Return both answers and their difference, sentence by sentence; `error` where there is none now."""
    error = reply.error.model_dump() if reply.error else None
    same = error is None and before == reply.text
    both = _sentences(before), _sentences(reply.text)
    diff = [] if same or error else list(unified_diff(*both, "then", "now", n=1, lineterm=""))
    told = {"text": reply.text, "model": reply.model, "served_by": reply.served_by, "degraded": reply.degraded}
    return {"same": same, **told, "abstained": reply.abstained, "error": error, "diff": diff}


def sampled(parameters: Mapping[str, Any]) -> bool:
    """Say whether an answer was asked for with chance in it: its repetition need not say the same."""
    generation = parameters.get("generation") or {}
    return bool(generation.get("temperature")) and generation.get("seed") is None


def retrieved(workspace: str, before: Sequence[dict[str, Any]], passages: Sequence[Passage]) -> list[dict[str, Any]]:
    """Return for each chunk of either list its number then and now, and what has become of it, in that order.

    `same`, `moved` (another number), `changed` (another version of its document), `gone`, `new`.
    """
    then = {str(chunk["chunk_id"]): (chunk["number"], chunk["version"], str(chunk["document_id"])) for chunk in before}
    now = {
        str(point_id(workspace, each.document_id, str(each.ordinal))): (
            each.number,
            each.version,
            str(each.document_id),
        )
        for each in passages
    }
    return [
        {
            "chunk_id": chunk,
            "document_id": (then.get(chunk) or now[chunk])[2],
            "then": then[chunk][0] if chunk in then else None,
            "now": now[chunk][0] if chunk in now else None,
            "version_then": then[chunk][1] if chunk in then else None,
            "version_now": now[chunk][1] if chunk in now else None,
            "change": _change(then.get(chunk), now.get(chunk)),
        }
        for chunk in dict.fromkeys([*then, *now])
    ]


def _chunk(workspace: str, passage: Passage) -> str:
    return str(point_id(workspace, passage.document_id, str(passage.ordinal)))


def _change(then: tuple[int, int, str] | None, now: tuple[int, int, str] | None) -> str:
    if then is None:
        return "new"
    if now is None:
        return "gone"
    if then[1] != now[1]:
        return "changed"
    return "same" if then[0] == now[0] else "moved"


def _sentences(text: str) -> list[str]:
    return [part for part in _SENTENCE.split(text) if part]
