from collections import Counter, defaultdict
from itertools import pairwise

import orjson
import pytest

from bench.kill.kinds.mix import FLOOD_SHARE, KINDS, Mix, needed, traits_of
from bench.kill.stream import UPLOADS, Kind, Step, Stream, Trait, Way, events
from tests.unit.bench.worlds import HOOKS, WORKSPACES, world


def mixed(count: int = 2_000, seed: int = 7, kinds: tuple[str, ...] = KINDS) -> list[Step]:
    return Mix(seed, WORKSPACES, HOOKS, kinds).steps(count)


def test_a_seed_is_a_stream_of_the_wanted_length() -> None:
    assert mixed(seed=3) == mixed(seed=3)
    assert mixed(seed=3) != mixed(seed=4)
    assert len(mixed(1_234)) == 1_234


def test_without_kinds_it_is_the_plain_stream() -> None:
    plain = Stream(7, WORKSPACES, HOOKS).steps(500)
    assert [(step.delivery, step.body) for step in mixed(500, kinds=())] == [
        (step.delivery, step.body) for step in plain
    ]


@pytest.mark.parametrize("seed", range(5))
def test_every_kind_is_in_it_and_has_effects(seed: int) -> None:
    steps = mixed(seed=seed)
    assert {trait for trait in needed(KINDS) if not traits_of(steps)[trait]} == set()
    effects = world(*steps).effects
    assert effects["versions of their own"] > 50
    assert effects["taken along"] > 30
    assert effects["said again unchanged"] > 5


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_out_is_not_in_it(kind: str) -> None:
    others = tuple(each for each in KINDS if each != kind)
    absent = needed((kind,)) - needed(others)
    assert not absent & {step.trait for step in mixed(kinds=others)}
    assert absent <= {step.trait for step in mixed(kinds=(kind,))}


def test_deliveries_marks_and_numbers_are_unique() -> None:
    steps = mixed()
    assert len({step.number for step in steps}) == len(steps)
    marks = defaultdict(set)
    said = defaultdict(set)
    for step in steps:
        said[step.event].add((step.body, step.text, step.external_id, step.kind))
        if step.canary:
            marks[step.canary].add((step.workspace, step.source, step.external_id, step.text))
    assert {len(each) for each in said.values()} == {1}
    assert {len(each) for each in marks.values()} == {1}


def test_equal_names_stand_in_several_sources() -> None:
    places = defaultdict(set)
    for step in mixed():
        if step.trait is Trait.CONTAINER_REMOVED:
            places[step.external_id].add((step.workspace, step.source))
    assert any(len(each) > 1 for each in places.values())


def test_acts_of_a_scene_follow_each_other_in_any_stream() -> None:
    scenes = defaultdict(list)
    for step in mixed():
        if step.scene:
            scenes[step.scene].append((step.number, step.act))
    for said in scenes.values():
        assert said == sorted(said)
        assert all(earlier[1] <= later[1] for earlier, later in pairwise(said))
    assert max(act for said in scenes.values() for _, act in said) >= 3


def test_the_flood_is_one_workspace_at_once_and_most_of_what_is_said_then() -> None:
    steps = mixed()
    floods = [place for place, step in enumerate(steps) if step.trait is Trait.FLOOD]
    assert len(floods) == int(len(steps) * FLOOD_SHARE)
    assert floods == list(range(floods[0], floods[-1] + 1))
    flood = [steps[place] for place in floods]
    assert {step.workspace for step in flood} == {WORKSPACES[-1]}
    assert Counter(step.way for step in flood).keys() == {Way.HOOK, Way.UPLOAD}
    assert any(step.version == 2 for step in flood)


def test_a_body_names_its_containers_in_all_forms() -> None:
    forms = Counter[str]()
    for step in mixed():
        if step.parents:
            said = orjson.loads(step.body)
            data = said.get("data", said)
            forms[" and ".join(name for name in ("parent", "parents") if name in data)] += 1
            named = [*data.get("parents", []), *([data["parent"]] if "parent" in data else [])]
            assert named == list(step.parents)
    assert forms.keys() == {"parent", "parents", "parent and parents"}


def test_a_user_deletes_only_what_stands_there() -> None:
    """The door answers 404 for what is deleted, and a sender would try for ever."""
    for step in mixed():
        if step.trait is Trait.USER_DELETION:
            assert step.sees
            before = [each for each in mixed() if each.scene == step.scene and each.act < step.act]
            assert before[-1].canary == step.sees
            assert {each.kind for each in before} == {Kind.UPSERT}


def test_every_event_is_accepted_once_in_the_model() -> None:
    steps = mixed()
    assert len(world(*steps).events) == len(list(events(steps)))
    assert {step.source for step in steps} == {*HOOKS, UPLOADS}
