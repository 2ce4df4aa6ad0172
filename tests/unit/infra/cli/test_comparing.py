from typing import Any
from uuid import UUID, uuid4

import pytest

from infra.cli.comparing import answers, retrieved, sampled
from schemas.chat import ChatReply, Passage, ReplyError
from schemas.ids import point_id
from tests.chats import passage


def reply(text: str, **fields: Any) -> ChatReply:
    known = {"workspace": "acme", "request_id": uuid4(), "conversation_id": uuid4(), "gateway": "g", "sequence": 0}
    return ChatReply.model_validate({**known, "kind": "final", "text": text, "served_by": "extractive", **fields})


def used(workspace: str, one: Passage) -> dict[str, Any]:
    known = one.model_dump(
        mode="json", include={"number", "document_id", "version", "ordinal", "start", "end", "score"}
    )
    return {"chunk_id": str(point_id(workspace, one.document_id, str(one.ordinal))), **known}


def test_the_same_answer_is_the_same_to_the_last_byte() -> None:
    assert answers("Two. Three.", reply("Two. Three."))["same"] is True
    assert answers("Two. Three.", reply("Two. Three. "))["same"] is False


def test_another_answer_is_shown_sentence_by_sentence() -> None:
    told = answers("It is open. It is deep. It is old.", reply("It is open. It is shallow. It is old."))
    assert told["diff"][2:] == ["@@ -1,3 +1,3 @@", " It is open.", "-It is deep.", "+It is shallow.", " It is old."]


def test_no_answer_is_no_difference_but_an_error() -> None:
    told = answers("It is.", reply("", kind="error", error=ReplyError(code="late", detail="too late")))
    assert (told["same"], told["diff"], told["error"]) == (False, [], {"code": "late", "detail": "too late"})


@pytest.mark.parametrize("workspace", ["acme", "globex"])
def test_chunks_are_compared_by_their_ids(workspace: str) -> None:
    documents = [UUID(int=number) for number in range(1, 6)]
    then = [passage(number, document_id=documents[number - 1], version=1) for number in range(1, 5)]
    now = [
        then[0],
        then[2].model_copy(update={"number": 2}),
        then[1].model_copy(update={"number": 3, "version": 2}),
        passage(4, document_id=documents[4]),
    ]
    found = retrieved(workspace, [used(workspace, each) for each in then], now)
    told = {each["document_id"]: (each["change"], each["then"], each["now"]) for each in found}
    assert told == {
        str(documents[0]): ("same", 1, 1),
        str(documents[1]): ("changed", 2, 3),
        str(documents[2]): ("moved", 3, 2),
        str(documents[3]): ("gone", 4, None),
        str(documents[4]): ("new", None, 4),
    }


@pytest.mark.parametrize(
    ("generation", "by_chance"),
    [
        ({"temperature": 1.0, "seed": None}, True),
        ({"temperature": 1.0, "seed": 7}, False),
        ({"temperature": 0.0, "seed": None}, False),
        ({"temperature": None, "seed": None}, False),
        (None, False),
    ],
)
def test_an_answer_that_was_sampled_may_be_another_one(
    generation: dict[str, object] | None, *, by_chance: bool
) -> None:
    assert sampled({"generation": generation} if generation is not None else {}) is by_chance
