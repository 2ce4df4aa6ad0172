from typing import Any, cast

import pytest

from schemas.chat import ChatMessage, FunctionCall, ToolCall
from schemas.event import now
from schemas.interactions import Interaction
from tests.chats import request
from tests.deliveries import delivery
from workers.archivist import store
from workers.archivist import worker as archivist
from workers.archivist.idle import Tools
from workers.archivist.settings import ArchivistSettings
from workers.archivist.worker import archive

CALL = ToolCall(id="a", function=FunctionCall(name="days_left", arguments="{}"))


def interaction(answer: str, *calls: ToolCall) -> Interaction:
    asked = request(answer or "Called?")
    return Interaction(
        workspace="acme",
        request_id=asked.request_id,
        conversation_id=asked.conversation_id,
        question=ChatMessage(role="user", content="How many days?"),
        answer=answer,
        tool_calls=calls,
        asked_at=now(),
        answered_at=now(),
    )


async def test_a_call_of_a_tool_is_no_answer_to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    withdrawn: list[Any] = []

    async def write(pool: object, conversations: object, interactions: list[Any]) -> None:
        kept.extend(interactions)

    async def withdraw_late(pool: object, answers: list[Any]) -> None:
        withdrawn.extend(answers)

    unkept: list[Any] = []

    async def withdraw_unkept(pool: object, requests: list[Any]) -> None:
        unkept.extend(requests)

    monkeypatch.setattr(store, "write", write)
    monkeypatch.setattr(archivist, "withdraw_late", withdraw_late)
    monkeypatch.setattr(archivist, "withdraw_unkept", withdraw_unkept)
    bodies = [interaction("", CALL), interaction("I look it up.", CALL), interaction("Seven.")]
    await archive([delivery(body) for body in bodies], Tools(cast(Any, None), ArchivistSettings()))
    assert [row.answer for row in kept] == ["I look it up.", "Seven."]
    assert withdrawn == kept
    assert unkept == [(bodies[0].workspace, bodies[0].request_id)]
