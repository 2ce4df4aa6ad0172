import asyncio

import pytest

from infra.errors import Transient
from tests.eventually import eventually
from workers.inference import deltas as deltas_of
from workers.inference.deltas import Deltas
from workers.inference.telling import Diverged, Telling

NEVER = 3_600.0


class Wire:
    """Takes deltas; `hold` delays the acknowledgement, `failures` are raised first."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, str]] = []
        self.hold: asyncio.Event | None = None
        self.failures: list[Transient] = []

    async def __call__(self, sequence: int, text: str) -> None:
        self.sent.append((sequence, text))
        if self.hold is not None:
            await self.hold.wait()
        if self.failures:
            raise self.failures.pop(0)


async def test_the_first_piece_goes_out_at_once_and_the_rest_by_size() -> None:
    wire = Wire()
    deltas = Deltas(wire, every_s=NEVER, characters=10)
    deltas.add("One")
    await eventually(lambda: wire.sent == [(0, "One")])
    for piece in (" two", " thr", "ee", " four"):
        deltas.add(piece)
    await eventually(lambda: wire.sent[1:] == [(1, " two three four")])
    deltas.add(" end")
    # The final reply, which comes next, has it.
    await deltas.end()
    assert wire.sent[2:] == []
    assert deltas.sequence == 2


async def test_what_is_there_at_once_needs_no_delta() -> None:
    wire = Wire()
    deltas = Deltas(wire, every_s=NEVER, characters=10)
    deltas.add("One")
    deltas.add(" and all the rest of it")
    await deltas.end()
    assert (wire.sent, deltas.sequence) == ([], 0)


async def test_what_is_less_goes_out_by_time() -> None:
    wire = Wire()
    deltas = Deltas(wire, every_s=0.01, characters=10_000)
    deltas.add("One")
    await eventually(lambda: len(wire.sent) == 1)
    deltas.add(" two")
    await eventually(lambda: len(wire.sent) == 2)
    await deltas.end()
    assert wire.sent == [(0, "One"), (1, " two")]


async def test_while_one_is_under_way_the_next_grows() -> None:
    wire = Wire()
    wire.hold = asyncio.Event()
    deltas = Deltas(wire, every_s=0, characters=1)
    deltas.add("a")
    await eventually(lambda: len(wire.sent) == 1)
    for piece in "bcdef":
        deltas.add(piece)
        await asyncio.sleep(0)
    assert wire.sent == [(0, "a")]
    wire.hold.set()
    await eventually(lambda: wire.sent == [(0, "a"), (1, "bcdef")])
    await deltas.end()


async def test_the_one_under_way_is_acknowledged_before_the_end() -> None:
    wire = Wire()
    wire.hold = asyncio.Event()
    deltas = Deltas(wire, every_s=0, characters=1)
    deltas.add("a")
    await eventually(lambda: len(wire.sent) == 1)
    deltas.add("b")
    ending = asyncio.create_task(deltas.end())
    await asyncio.sleep(0)
    assert not ending.done()
    wire.hold.set()
    await ending
    assert (wire.sent, deltas.sequence) == ([(0, "a")], 1)


async def test_a_delta_that_was_not_acknowledged_is_sent_again_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deltas_of, "_TRY_AGAIN_S", 0.001)
    wire = Wire()
    wire.failures = [Transient("kafka", "no"), Transient("kafka", "no")]
    deltas = Deltas(wire, every_s=NEVER, characters=10)
    deltas.add("a")
    await eventually(lambda: len(wire.sent) == 3)
    deltas.add("b" * 10)
    await eventually(lambda: wire.sent == [(0, "a"), (0, "a"), (0, "a"), (1, "b" * 10)])
    await deltas.end()


async def test_the_end_is_not_held_up_by_a_broker_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deltas_of, "END_WITHIN_S", 0.02)
    wire = Wire()
    wire.hold = asyncio.Event()
    deltas = Deltas(wire, every_s=0, characters=1)
    deltas.add("a")
    await asyncio.wait_for(deltas.end(), 60)
    await deltas.drop()
    assert deltas.sequence == 1  # the number that is under way is used up, once


async def test_dropping_publishes_nothing_more() -> None:
    wire = Wire()
    deltas = Deltas(wire, every_s=NEVER, characters=10)
    deltas.add("a")
    await eventually(lambda: wire.sent == [(0, "a")])
    deltas.add("b")
    await deltas.drop()
    assert wire.sent == [(0, "a")]
    assert deltas.sequence == 1


async def test_nothing_said_is_nothing_sent() -> None:
    wire = Wire()
    deltas = Deltas(wire, every_s=0, characters=1)
    await deltas.end()
    await deltas.drop()
    assert (wire.sent, deltas.sequence) == ([], 0)


def test_an_attempt_that_repeats_what_was_said_goes_on_from_there() -> None:
    heard: list[str] = []
    telling = Telling(heard.append)
    first = telling.attempt()
    first("Keys are ")
    first("rotated")
    second = telling.attempt()
    assert not second.heard
    for piece in ("Keys", " are rot", "ated weekly", "."):
        second(piece)
    assert heard == ["Keys are ", "rotated", " weekly", "."]
    assert telling.said == "Keys are rotated weekly."
    telling.complete("Keys are rotated weekly. [1]")
    assert heard[-1] == " [1]"


def test_an_attempt_that_differs_ends() -> None:
    telling = Telling([].append)
    telling.attempt()("Keys are rotated")
    again = telling.attempt()
    again("Keys ")
    with pytest.raises(Diverged):
        again("do not")
    telling.complete("something else")
    assert telling.said == "Keys are rotated"


def test_nothing_binds_where_nobody_reads_along() -> None:
    telling = Telling()
    telling.attempt()("one")
    telling.attempt()("two")
    telling.complete("three")
    assert telling.said == ""
