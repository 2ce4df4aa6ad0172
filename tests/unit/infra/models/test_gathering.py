import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from infra.errors import Permanent
from infra.models.encoder import FloatArray
from infra.models.gathering import Gathering
from schemas.dead_letters import Reason
from tests.eventually import eventually


class Held:
    """Encodes when it is let go, and remembers what came together."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.release = asyncio.Event()

    async def encode(self, texts: Sequence[str]) -> FloatArray:
        self.calls.append(list(texts))
        await self.release.wait()
        if "bad" in texts:
            raise Permanent(Reason.REFUSED_BY_SINK, "refused")
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)


def asking(gathering: Gathering, *texts: str) -> list[asyncio.Task[FloatArray]]:
    return [asyncio.create_task(gathering.one(text)) for text in texts]


async def test_a_question_waits_for_nobody_and_those_that_come_meanwhile_go_together() -> None:
    held = Held()
    gathering = Gathering(held.encode, most=3)
    first = asking(gathering, "a")
    await eventually(lambda: held.calls == [["a"]])
    others = asking(gathering, "bb", "ccc", "dddd", "eeeee")
    await eventually(lambda: len(gathering._waiting) == 4)
    held.release.set()
    vectors = await asyncio.gather(*first, *others)
    assert [int(vector[0]) for vector in vectors] == [1, 2, 3, 4, 5]
    assert held.calls == [["a"], ["bb", "ccc", "dddd"], ["eeeee"]]
    assert int((await gathering.one("ffffff"))[0]) == 6


async def test_a_text_that_is_refused_fails_alone() -> None:
    held = Held()
    gathering = Gathering(held.encode)
    first = asking(gathering, "a")
    await eventually(lambda: held.calls)
    tasks = asking(gathering, "bb", "bad", "dddd")
    await eventually(lambda: len(gathering._waiting) == 3)
    held.release.set()
    good, bad, last = await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*first)
    assert isinstance(bad, Permanent)
    assert not isinstance(good, BaseException)
    assert not isinstance(last, BaseException)
    assert [int(good[0]), int(last[0])] == [2, 4]


async def test_whoever_has_gone_is_not_encoded_and_nobody_else_notices() -> None:
    held = Held()
    gathering = Gathering(held.encode)
    at_work, waiting, last = asking(gathering, "a", "bb", "ccc")
    gone = asking(gathering, "dddd")
    await eventually(lambda: len(gathering._waiting) == 0 and held.calls)
    late = asking(gathering, "eeeee", "ffffff")
    await eventually(lambda: len(gathering._waiting) == 2)
    for task in (*gone, late[0]):
        task.cancel()
    await asyncio.wait([*gone, late[0]])
    held.release.set()
    vectors = await asyncio.gather(at_work, waiting, last, late[1])
    assert [int(vector[0]) for vector in vectors] == [1, 2, 3, 6]
    assert held.calls[-1] == ["ffffff"]


async def test_an_encoder_that_ends_leaves_nobody_waiting() -> None:
    held = Held()
    gathering = Gathering(held.encode, most=1)
    tasks = asking(gathering, "a", "bb")
    await eventually(lambda: held.calls)
    assert gathering._task is not None
    gathering._task.cancel()
    for task in tasks:
        with pytest.raises(asyncio.CancelledError):
            await task
