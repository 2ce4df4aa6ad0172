"""Fairness by simulation: the queue has no clock of its own."""

import heapq
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random

import pytest

from infra.queueing.turns import FIRST_GUESS_S, Turns


class Mill:
    """Serves the queue with a number of slots in virtual time; `length` gives the seconds of each answer."""

    def __init__(self, slots: int, length: Callable[[str], float], weights: Mapping[str, float] | None = None) -> None:
        self.turns: Turns[tuple[str, float]] = Turns(weights)
        self.length = length
        self.free = slots
        self.time = 0.0
        self.running: list[tuple[float, int, object, float, str]] = []
        self.waited: list[tuple[str, float]] = []
        self.served = Counter[str]()
        self.serial = 0

    def ask(self, workspace: str, questions: int = 1) -> None:
        for _ in range(questions):
            self.turns.join(workspace, self.time, (workspace, self.time))

    def run(self, until: Callable[[], bool]) -> None:
        while not until():
            while self.free and len(self.turns):
                (workspace, asked_at), turn = self.turns.next()
                self.free -= 1
                self.serial += 1
                self.waited.append((workspace, self.time - asked_at))
                took = self.length(workspace)
                heapq.heappush(self.running, (self.time + took, self.serial, turn, took, workspace))
            if not self.running:
                return
            self.time, _, turn, took, workspace = heapq.heappop(self.running)
            self.turns.ended(turn, took)  # type: ignore[arg-type]
            self.served[workspace] += 1
            self.free += 1

    def waits(self, workspace: str) -> list[float]:
        return [waited for name, waited in self.waited if name == workspace]


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("served_before", [0, 1, 57, 400])
def test_a_thousand_questions_delay_anothers_by_one_slots_time(slots: int, served_before: int) -> None:
    random = Random(served_before)
    longest = 3.0
    mill = Mill(slots, lambda _: random.uniform(0.1, longest))
    mill.ask("flood", 1_000)
    mill.run(lambda: mill.served["flood"] >= served_before)
    mill.ask("single")
    mill.run(lambda: mill.served["single"] == 1)
    (waited,) = mill.waits("single")
    assert waited <= longest
    assert mill.served["flood"] < 1_000


@pytest.mark.parametrize("length", [0.001, 0.01, 50.0])
@pytest.mark.parametrize("slots", [1, 4, 32])
@pytest.mark.parametrize("served_before", range(0, 60, 7))
def test_a_wrong_guess_of_an_answers_length_holds_nobody_up(slots: int, served_before: int, length: float) -> None:
    """Charged by the mean when it begins, corrected when it ends: in between the tags say what is not so."""
    mill = Mill(slots, lambda _: length)
    mill.ask("flood", 1_000)
    mill.run(lambda: mill.served["flood"] >= served_before)
    mill.ask("single")
    mill.run(lambda: mill.served["single"] == 1)
    assert mill.waits("single")[0] <= length * 1.001


def test_among_many_it_waits_for_one_answer_of_each_other() -> None:
    mill = Mill(2, lambda _: 1.0)
    for number in range(9):
        mill.ask(f"w{number}", 100)
    mill.run(lambda: mill.time >= 20)
    mill.ask("single")
    mill.run(lambda: mill.served["single"] == 1)
    assert mill.waits("single")[0] <= 9 * 1.0 / 2 + 1.0


def test_shares_follow_the_weights_in_time_not_in_answers() -> None:
    """Answers of `long` take four times as long: with equal weights it gets a quarter of the answers."""
    mill = Mill(4, lambda name: 4.0 if name == "long" else 1.0, {"heavy": 3.0})
    for name in ("long", "short", "heavy"):
        mill.ask(name, 5_000)
    mill.run(lambda: mill.time >= 1_000)
    total = mill.time * 4
    assert mill.served["long"] * 4 / total == pytest.approx(1 / 5, abs=0.02)
    assert mill.served["short"] / total == pytest.approx(1 / 5, abs=0.02)
    assert mill.served["heavy"] / total == pytest.approx(3 / 5, abs=0.02)


def test_a_rest_saves_nothing_up() -> None:
    mill = Mill(1, lambda _: 1.0)
    mill.ask("busy", 1_000)
    mill.ask("idle", 1)
    mill.run(lambda: mill.served["busy"] >= 200)
    mill.ask("idle", 100)
    before = mill.served.copy()
    mill.run(lambda: sum(mill.served.values()) >= sum(before.values()) + 100)
    assert mill.served["busy"] - before["busy"] == pytest.approx(50, abs=2)


def test_a_workspace_that_asks_one_by_one_does_not_jump_the_queue_each_time() -> None:
    mill = Mill(1, lambda _: 1.0)
    mill.ask("flood", 500)
    for turn in range(1, 100):
        mill.ask("single")
        mill.run(lambda turn=turn: mill.served["single"] >= turn)  # type: ignore[misc]
    assert mill.served["flood"] >= 95


def test_the_earliest_accepted_of_a_workspace_is_first() -> None:
    turns: Turns[str] = Turns()
    for accepted_at, name in ((3.0, "c"), (1.0, "a"), (2.0, "b")):
        turns.join("acme", accepted_at, name)
    assert [turns.next()[0] for _ in range(3)] == ["a", "b", "c"]


def test_who_leaves_gets_no_turn_and_costs_nothing() -> None:
    turns: Turns[str] = Turns()
    gone = [turns.join("acme", 1.0, f"gone {number}") for number in range(3)]
    turns.join("acme", 2.0, "here")
    for waiter in gone:
        turns.leave(waiter)
    other = turns.join("other", 1.0, "gone too")
    turns.leave(other)
    assert len(turns) == 1
    item, turn = turns.next()
    assert item == "here"
    turns.ended(turn, None)
    assert turns.mean_s == FIRST_GUESS_S
    with pytest.raises(IndexError):
        turns.next()


def test_workspaces_that_rest_are_forgotten() -> None:
    mill = Mill(1, lambda _: 1.0)
    for number in range(1_000):
        mill.ask(f"w{number}")
    mill.run(lambda: False)
    assert mill.turns._workspaces == {}


def test_the_mean_follows_the_turns() -> None:
    mill = Mill(1, lambda _: 5.0)
    mill.ask("acme", 60)
    mill.run(lambda: False)
    assert mill.turns.mean_s == pytest.approx(5.0, abs=0.05)
