from collections import Counter, defaultdict

import orjson

from bench.kill.stream import Kind, Way, events
from tests.unit.bench.worlds import HOOKS, WORKSPACES, steps


def test_a_seed_is_a_stream() -> None:
    assert steps(seed=3) == steps(seed=3)
    assert steps(seed=3) != steps(seed=4)


def test_every_kind_of_trouble_is_in_it() -> None:
    stream = steps(2_000)
    assert len(stream) == 2_000
    kinds = Counter((step.way, step.kind) for step in stream)
    assert {
        (Way.HOOK, Kind.UPSERT),
        (Way.HOOK, Kind.DELETE),
        (Way.HOOK, Kind.POISON),
        (Way.HOOK, Kind.EMPTY),
        (Way.UPLOAD, Kind.UPSERT),
        (Way.REMOVE, Kind.DELETE),
    } == kinds.keys()
    assert {(step.workspace, step.source) for step in stream} >= {(each, name) for each in WORKSPACES for name in HOOKS}
    assert len(list(events(stream))) < len(stream) * 0.97, "hardly any repetition"
    assert {step.reason for step in stream} == {"", "invalid_json", "schema_violation"}


def test_a_repetition_is_the_same_delivery_with_the_same_bytes() -> None:
    said = defaultdict(set)
    for step in steps(2_000):
        said[step.event].add((step.body, step.text, step.external_id, step.kind))
    assert {len(bodies) for bodies in said.values()} == {1}


def test_versions_come_out_of_order_and_each_number_means_one_state() -> None:
    newest: dict[tuple[str, str, str], int] = {}
    states = defaultdict(set)
    late = 0
    for step in steps(2_000):
        if step.exact_version is not None and step.external_id:
            document = (step.workspace, step.source, step.external_id)
            late += step.version < newest.get(document, 0)
            newest[document] = max(step.version, newest.get(document, 0))
            states[(*document, step.version)].add((step.kind, step.text))
    assert late > 50
    assert {len(each) for each in states.values()} == {1}


def test_numbers_are_said_again_with_other_texts_and_texts_go_back() -> None:
    texts: defaultdict[tuple[str, str, str, int | None], list[str]] = defaultdict(list)
    words: defaultdict[tuple[str, str, str], list[tuple[str, str]]] = defaultdict(list)
    for step in events(steps(2_000)):
        document = (step.workspace, step.source, step.external_id)
        if step.ordered and step.kind is Kind.UPSERT:
            texts[(*document, step.version)].append(step.text)
        if step.kind is Kind.UPSERT and step.chain:
            words[document].append((step.title, step.text))
    assert any(len(set(each)) > 1 for each in texts.values())
    assert any(a == c != b for each in words.values() for a, b, c in zip(each, each[1:], each[2:], strict=False))
    runs = "".join(
        "u" if step.way is Way.UPLOAD else "-" for step in sorted(steps(2_000), key=lambda each: each.number)
    )
    assert "u" * 150 in runs, "a flood"


def test_steps_of_a_chain_keep_their_order() -> None:
    chains = defaultdict(list)
    for step in steps(2_000):
        if step.chain:
            chains[step.chain].append(step.number)
    assert any(len(numbers) > 2 for numbers in chains.values())
    assert all(numbers == sorted(numbers) for numbers in chains.values())


def test_a_body_says_what_the_step_means() -> None:
    for step in steps(400):
        if step.way is Way.HOOK and step.kind is Kind.UPSERT:
            said = orjson.loads(step.body)
            data = said.get("data", said)
            assert (data["text"], data["version"]) == (step.text, step.version)
            assert said.get("subject", said.get("id")) == step.external_id
            assert step.canary in step.text
