"""An answer put together from its replies, whatever was written twice."""

import asyncio
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.kafka.answers import ANSWER_CHANGED, Replies
from schemas.chat import ChatReply, ReplyError

REQUEST, CONVERSATION = uuid4(), uuid4()


def reply(kind: str, text: str = "", sequence: int = 0, **fields: Any) -> ChatReply:
    known = {"workspace": "acme", "request_id": REQUEST, "conversation_id": CONVERSATION, "gateway": "g"}
    return ChatReply.model_validate({**known, "kind": kind, "text": text, "sequence": sequence, **fields})


def deltas(*texts: str) -> list[ChatReply]:
    return [reply("delta", text, sequence) for sequence, text in enumerate(texts)]


def holding(*replies: ChatReply) -> Replies:
    held = Replies("acme")
    for each in replies:
        held.put(each)
    return held


async def test_what_was_not_read_yet_comes_in_one_part() -> None:
    replies = holding(*deltas("one ", "two"))
    part = await replies.after(0)
    assert (part.text, part.at, part.end) == ("one two", 7, None)
    replies.put(reply("final", "one two.", 2))
    part = await replies.after(7)
    assert (part.text, part.at) == (".", 8)
    assert part.end is not None


async def test_waiting_ends_with_news_and_survives_a_time_out() -> None:
    replies = holding()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await replies.after(0)
    waiting = asyncio.create_task(replies.after(0))
    await asyncio.sleep(0)
    replies.put(reply("delta", "x"))
    assert (await waiting).text == "x"


async def test_a_piece_that_is_missing_comes_with_the_end() -> None:
    replies = holding(reply("delta", "a", 0), reply("delta", "c", 2), reply("delta", "d", 3))
    assert (await replies.after(0)).text == "a"
    replies.put(reply("final", "abcd", 4))
    assert (await replies.after(1)).text == "bcd"


async def test_a_second_try_that_says_something_else_is_not_told() -> None:
    replies = holding(*deltas("one ", "answer"), *deltas("another", " answer altogether"))
    assert (await replies.after(0)).text == "one answer"
    replies.put(reply("final", "another answer altogether", 2))
    part = await replies.after(10)
    assert (part.text, part.at) == ("", 10)
    assert part.end is not None
    assert part.end.error is not None
    assert part.end.error.code == ANSWER_CHANGED
    assert (part.end.kind, part.end.text) == ("error", "")


async def test_whoever_was_told_nothing_gets_the_answer_as_it_ended() -> None:
    replies = holding(*deltas("one"), reply("final", "another", 1))
    assert (await replies.end()).text == "another"
    assert (await replies.after(0)).text == "another"


async def test_an_error_comes_after_what_was_written() -> None:
    error = reply("error", error=ReplyError(code="cancelled", detail="d"))
    part = await holding(*deltas("a", "b"), error).after(1)
    assert (part.text, part.at) == ("b", 2)
    assert part.end is error


async def test_nothing_follows_the_end() -> None:
    replies = holding(reply("final", "one"), reply("final", "two"), reply("delta", "three"))
    assert (await replies.end()).text == "one"


@pytest.mark.parametrize("at", [4, 40])
async def test_a_position_beyond_the_answer_is_of_another_answer(at: int) -> None:
    part = await holding(reply("final", "one")).after(at)
    assert part.end is not None
    assert part.end.kind == "error"


def cut(text: str, places: list[int]) -> list[str]:
    marks = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[start:end] for start, end in pairwise(marks)]


@given(st.text(min_size=1, max_size=40), st.lists(st.lists(st.integers(0, 40), max_size=6), max_size=3), st.data())
def test_tries_that_break_off_anywhere_give_one_text(text: str, tries: list[list[int]], data: st.DataObject) -> None:
    """However the same text is cut, whenever a writer dies and whenever a reader comes back: the text, once."""

    async def read() -> str:
        replies, told = holding(), ""
        for number, places in enumerate([*tries, []]):
            pieces = deltas(*cut(text, places))
            if number < len(tries):
                pieces = pieces[: data.draw(st.integers(0, len(pieces)))]
            for piece in pieces:
                replies.put(piece)
                if len(replies.told) > len(told) and data.draw(st.booleans()):
                    told += (await replies.after(len(told))).text
                assert text.startswith(told)
        replies.put(reply("final", text, 9))
        return told + (await replies.after(len(told))).text

    assert asyncio.run(read()) == text
