from collections.abc import AsyncIterator, Sequence

import pytest

from infra.errors import Transient
from workers.inference.backends.events import LONGEST_LINE, data_lines


async def sent(chunks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def read(*chunks: bytes) -> list[bytes]:
    return [line async for line in data_lines(sent(chunks), "inference", 5, 5)]


@pytest.mark.parametrize("cut", [1, 2, 5, 1_000])
async def test_lines_are_put_together_however_they_arrive(cut: int) -> None:
    stream = b': hello\r\n\r\ndata: {"a": 1}\n\ndata:[DONE]\r\n\r\n'
    lines = await read(*(stream[at : at + cut] for at in range(0, len(stream), cut)))
    assert [line for line in lines if line] == [b'{"a": 1}', b"[DONE]"]
    assert len(lines) == 6  # a comment and blank lines are signs of life


async def test_a_line_without_an_end_is_not_held_for_ever() -> None:
    with pytest.raises(Transient, match="without an end"):
        await read(*[b"x" * 65_536] * (LONGEST_LINE // 65_536 + 1))


async def test_a_last_line_that_was_cut_is_no_line() -> None:
    assert await read(b"data: one\ndata: tw") == [b"one"]
