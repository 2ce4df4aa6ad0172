"""Whatever a source says, in whatever order: one text for each version, and every sink ends at the newest state."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import Permanent
from schemas.event import MAX_VERSION
from tests.unit.workers.normalizer.arrivals import raw, states
from workers.normalizer.decide import EVERYTHING, NOTHING, Decision, Held, Place, State, Verdict, decide
from workers.normalizer.version import unrevised

Said = tuple[State, Place]


def say(number: int | None, text: str | None, place: Place, **fields: object) -> Said:
    """Return what a sender says: its number, its text (None: a deletion), and where the event was accepted."""
    words = {"deleted": True} if text is None else {"text": text}
    body = {"id": "doc", **words, **({"version": number} if number else {}), **fields}
    (state,) = states(raw("generic", body), offset=place[1])  # type: ignore[misc]
    return state, place


def delete(after_version: int | None, place: Place) -> Said:
    """Return a deletion at a user's word."""
    event = raw("generic", operation="delete", subject="doc", after_version=after_version)
    (state,) = states(event, offset=place[1])  # type: ignore[misc]
    return state, place


@dataclass
class Gate:
    """The row of one document, and everything that was published of it."""

    held: Held | None = None
    published: list[tuple[int, str | None]] = field(default_factory=list)

    def pass_(self, said: Said, *, crash: bool = False) -> Decision:
        state, place = said
        decision = decide(state, place, self.held)
        self.held = decision.held
        if decision.verdict in {Verdict.PUBLISH, Verdict.AGAIN} and not crash:
            self.published.append((decision.version, None if state.deleted else state.version.text))
        return decision


def sink(published: list[tuple[int, str | None]], *, equal: bool) -> tuple[int, str | None] | None:
    """Return what a sink holds: of one version the deletion; of equals the first, or the last (`equal`)."""
    held: tuple[int, str | None] | None = None
    for version, text in published:
        rank, known = (version, text is None), (held[0], held[1] is None) if held else (0, False)
        if rank > known or (equal and rank == known):
            held = (version, text)
    return held


NUMBERS = st.integers(1, 4)
TEXTS = st.sampled_from(["A", "B", "C", None])


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[Said], list[Said]]:
    """A log of states of one document in two partitions, and an order with repetitions in which they are handled."""
    told = draw(st.lists(st.tuples(NUMBERS, TEXTS, st.integers(0, 1)), min_size=1, max_size=7))
    log = [say(number, text, (partition, at)) for at, (number, text, partition) in enumerate(told)]
    order = draw(st.permutations([*log, *draw(st.lists(st.sampled_from(log), max_size=4))]))
    return log, order


@given(arrivals(), st.randoms(use_true_random=False))
def test_any_order_ends_at_the_newest_state_in_every_sink(given: tuple[list[Said], list[Said]], chance: object) -> None:
    log, order = given
    gate = Gate()
    for said in order:
        gate.pass_(said)
    newest, _ = max(log, key=lambda said: (said[0].version.version, said[0].deleted, said[1]))
    wanted = None if newest.deleted else newest.version.text
    delivered = list(gate.published)
    chance.shuffle(delivered)  # type: ignore[attr-defined]
    for published in (gate.published, delivered):
        for equal in (True, False):
            held = sink(published, equal=equal)
            assert held is not None
            assert held[1] == wanted
    texts: dict[int, set[str]] = {}
    for version, text in gate.published:
        if text is not None:
            texts.setdefault(version, set()).add(text)
    assert all(len(each) == 1 for each in texts.values()), "two texts share a version"
    assert gate.held is not None
    assert gate.published[-1][0] == gate.held.version == max(version for version, _ in gate.published), "the last word"


@given(arrivals(), st.data())
def test_a_crash_before_the_publication_loses_nothing(
    given: tuple[list[Said], list[Said]], data: st.DataObject
) -> None:
    """In the order of the log, as one partition is handled: what was not published is delivered again."""
    log, _ = given
    log = [(state, (0, offset)) for state, (_, offset) in log]
    calm, gate = Gate(), Gate()
    for said in log:
        calm.pass_(said)
    at = 0
    while at < len(log):
        size = data.draw(st.integers(1, 3))
        batch = log[at : at + size]
        if data.draw(st.booleans()):
            for said in batch:
                gate.pass_(said, crash=True)
        for said in batch:
            gate.pass_(said)
        at += size
    assert sink(gate.published, equal=True) == sink(calm.published, equal=True)
    replayed = Gate(gate.held)
    for said in log:
        replayed.pass_(said)
    assert replayed.held == gate.held, "a replay changes nothing"
    assert sink(gate.published + replayed.published, equal=True) == sink(calm.published, equal=True)


def test_a_text_that_goes_back_ends_there_on_a_replay_too() -> None:
    log = [say(None, text, (0, at)) for at, text in enumerate("ABA")]
    gate = Gate()
    for said in [*log, log[1], log[0]]:
        gate.pass_(said)
    assert [text for _, text in gate.published] == ["A", "B", "A", "A"]
    assert gate.published[-1] == gate.published[2]


@pytest.mark.parametrize("number", [None, 5])
def test_a_redriven_state_is_published_though_it_was_said_again_meanwhile(number: int | None) -> None:
    """Its first try ended behind the gate, as a dead letter; what said the same since was not published."""
    gate = Gate()
    first = say(number, "A", (0, 10))
    gate.pass_(first, crash=True)
    assert gate.pass_(say(number, "A", (0, 20))).verdict is Verdict.UNCHANGED
    redriven = gate.pass_(first)
    assert (redriven.verdict, redriven.version) == (Verdict.AGAIN, gate.held.version if gate.held else None)
    assert sink(gate.published, equal=False) == (redriven.version, "A")


def test_a_numbered_state_that_was_passed_by_stays_behind() -> None:
    gate = Gate()
    first = say(5, "A", (0, 10))
    gate.pass_(first)
    gate.pass_(say(7, "A", (0, 20)))
    assert gate.pass_(first).verdict is Verdict.SUPERSEDED


def test_what_is_said_again_in_its_partition_is_not_published_and_from_another_it_is() -> None:
    gate = Gate()
    first = gate.pass_(say(None, "A", (0, 3)))
    assert gate.pass_(say(None, "A", (0, 9))).verdict is Verdict.UNCHANGED
    assert gate.held is not None
    assert (gate.held.number, gate.held.version) == (unrevised(9), first.version)
    other = gate.pass_(say(None, "A", (1, 20)))
    assert (other.verdict, other.version) == (Verdict.AGAIN, first.version)


@pytest.mark.parametrize(
    ("before", "seen", "stays"),
    [
        pytest.param([(7, "A")], 7, False, id="seen"),
        pytest.param([(7, "A"), (7, "B"), (7, "C")], 9, False, id="seen at a version of its own"),
        pytest.param([(7, "A"), (7, "B")], 7, False, id="of one number the deletion counts"),
        pytest.param([(7, "A"), (9, "B")], 7, True, id="a newer state that the user had not seen"),
        pytest.param([(7, "A"), (7, "B"), (9, "C")], 7, True, id="and that has a version of its own"),
    ],
)
def test_a_user_deletes_what_they_saw(before: list[tuple[int, str]], seen: int, *, stays: bool) -> None:
    gate = Gate()
    for at, (number, text) in enumerate(before):
        gate.pass_(say(number, text, (0, at)))
    gate.pass_(delete(seen, (1, 50)))
    held = sink(gate.published, equal=True)
    assert held is not None
    assert (held[1] is not None) is stays
    number = before[-1][0]
    assert gate.pass_(say(number + 2, "later", (0, 60))).verdict is Verdict.PUBLISH, "the sender's numbers go on"
    assert gate.pass_(delete(seen, (1, 50))).verdict in {Verdict.SUPERSEDED, Verdict.AGAIN}


def test_an_unchanged_upload_can_be_deleted_at_the_version_that_is_shown() -> None:
    gate = Gate()
    shown = gate.pass_(say(None, "A", (0, 3))).version
    gate.pass_(say(None, "A", (0, 900)))
    assert gate.pass_(delete(shown, (1, 5))).verdict is Verdict.PUBLISH
    held = sink(gate.published, equal=True)
    assert held is not None
    assert held[1] is None


def test_the_greatest_version_is_no_way_round() -> None:
    gate = Gate()
    gate.pass_(say(MAX_VERSION, "A", (0, 0)))
    with pytest.raises(Permanent, match="greatest version"):
        gate.pass_(say(MAX_VERSION, "B", (0, 1)))
    assert gate.pass_(say(MAX_VERSION, None, (0, 2))).version == MAX_VERSION


def test_a_thing_opens_and_closes() -> None:
    gate = Gate()
    gate.pass_(say(3, None, (0, 0)))
    assert gate.held is not None
    assert gate.held.floor == EVERYTHING
    assert gate.pass_(say(2, "late", (0, 1))).held.floor == EVERYTHING
    assert gate.pass_(say(4, "again", (0, 2))).held.floor == NOTHING
    gate.pass_(say(5, None, (0, 3)))
    there = gate.pass_(say(6, "", (0, 4), operation="create"))
    assert (there.verdict, there.held.floor) == (Verdict.NOTED, NOTHING)
    assert gate.pass_(say(6, "with a text", (0, 5))).version == 6
