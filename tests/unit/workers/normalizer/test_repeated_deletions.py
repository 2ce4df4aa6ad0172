"""A deletion that is said again is no other state: whatever its number was moved on to, its version stays."""

from tests.events import document
from workers.normalizer.decide import Held, State, Verdict, decide


def said(text: str, number: int) -> State:
    return State(document(text, version=number), text.encode(), numbered=True)


def test_a_deletion_said_again_keeps_its_version_behind_moved_ones() -> None:
    held: Held | None = None
    versions = []
    states = [said("one", 18), said("two", 18), said("three", 18), said("", 18), said("", 18), said("", 18)]
    for offset, state in enumerate([*states, said("four", 19)]):
        decision = decide(state, (0, offset), held)
        assert decision.verdict is Verdict.PUBLISH
        held = decision.held
        versions.append(decision.version)
    assert versions == [18, 19, 20, 21, 21, 21, 22]
