"""What the model makes of equal numbers, ways back and removed containers: right by hand, so that it can judge."""

from dataclasses import replace
from uuid import UUID

import pytest

from bench.kill.model import Document, World
from bench.kill.stream import UPLOADS, Step
from tests.unit.bench.worlds import SOURCES, played, writer


def one(world: World) -> Document:
    (document,) = world.documents.values()
    return document


def named(world: World, name: str) -> Document:
    return next(each for each in world.documents.values() if each.step.external_id == name)


def test_of_equal_numbers_the_one_accepted_later_stays_at_a_version_of_its_own() -> None:
    says = writer()
    first, second = says.say("twin", version=7), says.say("twin", version=7)
    assert (one(played(first, second)).text, one(played(first, second)).version) == (second.text, 8)
    assert (one(played(second, first)).text, one(played(second, first)).version) == (first.text, 8)


def test_versions_go_on_from_where_they_were_moved_to() -> None:
    says = writer()
    said = [says.say("twin", version=number) for number in (7, 7, 7, 8, 20, 8)]
    assert [one(played(*said[: at + 1])).version for at in range(len(said))] == [7, 8, 9, 10, 20, 20]


def test_the_log_and_not_the_senders_say_what_was_accepted_later() -> None:
    says = writer()
    steps = [replace(says.say("twin", version=7), number=number) for number in range(2)]
    known = World.of(steps, SOURCES)
    first, second = (known.event_id(step) for step in steps)
    assert one(World.of(steps, SOURCES, {first: (3, 90), second: (3, 80)})).step == steps[0]
    scattered = World.of(steps, SOURCES, {first: (3, 90), second: (2, 80)})
    assert "partitions [2, 3]" in scattered.scattered[0]
    assert known.scattered == []


def test_of_equal_numbers_a_deletion_counts_wherever_it_stands() -> None:
    says = writer()
    text, gone, late = says.say("twin", version=7), says.delete("twin", version=7), says.say("twin", version=7)
    assert (one(played(text, gone, late)).deleted, one(played(text, gone, late)).version) == (True, 7)
    # Behind a version of its own: the deletion needs the next.
    assert (one(played(text, late, gone)).deleted, one(played(text, late, gone)).version) == (True, 9)
    again = says.again(gone)
    assert one(played(text, late, gone, again)).version == 9


@pytest.mark.parametrize("source", ["feed-a", UPLOADS])
def test_a_text_that_goes_back_is_the_last_one(source: str) -> None:
    says = writer(source)
    first, second = says.say("turn"), says.say("turn")
    back = says.again(first)
    assert one(played(first, second, back)).text == first.text
    assert one(played(first, second, back)).run == {played(back).event_id(back)}


def test_a_state_said_again_is_no_other_state() -> None:
    says = writer()
    first = says.say("turn", version=3)
    again, repeat = says.again(first), says.repeat(first)
    world = played(first, again, repeat)
    assert (one(world).version, len(one(world).run), len(world.events)) == (3, 2, 2)
    # Under a greater number it is: senders and readers count on the number.
    assert one(played(first, replace(again, version=4))).version == 4


def test_among_equal_dates_acceptance_counts_and_an_older_date_is_older() -> None:
    says = writer()
    first, second, older = (says.say("twin", dated=at) for at in (30, 30, 29))
    assert one(played(first, second, older)).text == second.text
    assert one(played(first, second, older)).version is None


def test_a_user_deletes_what_they_saw_and_only_a_newer_number_brings_it_back() -> None:
    says = writer()
    states = [says.say("shift", version=5) for _ in range(3)]
    gone = says.remove(states[-1])
    assert (one(played(*states, gone)).deleted, one(played(*states, gone)).version) == (True, 8)
    late, newer = says.say("shift", version=6), says.say("shift", version=7)
    assert one(played(*states, gone, late)).deleted
    back = one(played(*states, gone, late, newer))
    assert (back.deleted, back.version) == (False, 9)


def family(*acts: list[Step]) -> World:
    return played(*(replace(step, act=act) for act, steps in enumerate(acts) for step in steps))


def test_what_stands_in_a_removed_thing_goes_whatever_comes_when() -> None:
    says = writer()
    parent, gone = says.say("box", version=1), says.delete("box", version=2)
    child, grandchild = says.say("leaf", parents=("box",)), says.say("deep", parents=("box", "box/inner"))
    other = says.say("other", parents=("chest",))
    for order in ([parent, child, grandchild, gone], [gone, grandchild, child, parent], [child, gone, grandchild]):
        world = family([*order, other])
        assert {each.step.external_id for each in world.documents.values() if not each.deleted} == {"other"}
        assert named(world, "leaf").text == ""


def test_in_a_tree_of_direct_parents_all_of_it_goes() -> None:
    says = writer()
    inner, leaf = says.say("inner", parents=("box",)), says.say("leaf", parents=("inner",))
    world = family([leaf, says.delete("box"), inner])
    assert named(world, "leaf").taken
    assert named(world, "inner").taken
    assert world.contents[world.document_id(("mill-1", "feed-a", "box"))] == {
        named(world, "leaf").document_id,
        named(world, "inner").document_id,
    }


def test_equal_names_of_other_sources_are_other_containers() -> None:
    says, others = writer(), writer("feed-b")
    world = family([says.say("leaf", parents=("box",)), others.delete("box")])
    assert not named(world, "leaf").deleted


def test_what_came_back_is_there_once_it_is_said_again() -> None:
    says = writer()
    child, silent = says.say("leaf", version=1, parents=("box",)), says.say("silent", version=1, parents=("box",))
    acts = [[child, silent], [says.delete("box", version=1)], [says.say("box", version=2)]]
    assert named(family(*acts), "leaf").taken
    again = says.again(child)
    world = family(*acts, [again])
    assert (named(world, "leaf").deleted, named(world, "leaf").text) == (False, child.text)
    # The number alone does not tell any more: its deletion had one, too.
    assert named(world, "leaf").version is None
    assert named(world, "leaf").run == {world.event_id(again)}
    assert named(world, "silent").deleted
    assert named(family(*acts, [again], [says.delete("box", version=3)]), "leaf").taken


def test_a_late_child_may_leave_no_trace_and_what_was_there_before_must() -> None:
    says = writer()
    early, late = says.say("early", parents=("box",)), says.say("late", parents=("box",))
    world = family([early], [says.delete("box")], [late])
    assert (named(world, "early").surely, named(world, "late").surely) == (True, False)
    # Its deletion has a version, which only the log knows.
    numbered = says.say("early", version=4, parents=("box",))
    assert named(family([numbered], [says.delete("box")]), "early").version is None
    assert named(world, "box").surely


def test_what_moved_out_stays() -> None:
    says = writer()
    inside, outside = says.say("leaf", version=1, parents=("box",)), says.say("leaf", version=2, parents=("chest",))
    gone = says.delete("box")
    for order in ([inside, outside, gone], [inside, gone, outside], [outside, gone, inside]):
        assert named(family(order), "leaf").text == outside.text
        assert named(family(order), "leaf").surely


def test_what_goes_with_its_container_may_be_left_out_and_is_spoken_of_by_it() -> None:
    says = writer()
    child, gone = says.say("leaf", parents=("box",)), says.delete("box")
    world = family([child, gone])
    assert world.overtaken(world.events[world.event_id(child)])
    assert not world.overtaken(world.events[world.event_id(gone)])
    removed: UUID = world.document_id(("mill-1", "feed-a", "box"))
    assert world.contents[removed] == {named(world, "leaf").document_id}
