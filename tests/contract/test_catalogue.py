"""The catalogue says what the workers do, and the workers do what the catalogue says."""

import ast
from pathlib import Path

import pytest

from tests.contract.code import REPOSITORY, name_of, sources, strings, tree
from topics.catalogue import CATALOGUE, DEAD_LETTERS
from topics.diagram import replace_section, section
from workers.host.run import find, names

WORKERS = names()
NAMES = {topic.name for topic in CATALOGUE}
CALLS = frozenset(
    {"publish", "send", "send_and_wait", "subscribe", "subscriber", "assign", "TopicPartition", "by_name"}
)
"""Calls whose first argument may name a topic."""


@pytest.mark.parametrize("worker", WORKERS)
def test_a_worker_is_called_like_its_folder(worker: str) -> None:
    assert find(worker).name == worker
    assert find(worker).group_id.startswith(f"millrace.{worker}")


@pytest.mark.parametrize("worker", WORKERS)
def test_a_worker_consumes_what_the_catalogue_says(worker: str) -> None:
    found = find(worker)
    consumed = {topic.name for topic in (*(each.topic for each in found.subscriptions), *found.follows)}
    assert consumed == {topic.name for topic in CATALOGUE if worker in topic.consumers}


@pytest.mark.parametrize("worker", WORKERS)
def test_a_worker_publishes_what_the_catalogue_says(worker: str) -> None:
    published = {topic.name for topic in find(worker).publishes}
    declared = {topic.name for topic in CATALOGUE if worker in topic.producers} - {DEAD_LETTERS.name}
    assert published == declared


@pytest.mark.parametrize("worker", WORKERS)
def test_whoever_consumes_may_dead_letter(worker: str) -> None:
    """The runtime dead-letters for every worker that reads anything."""
    assert (worker in DEAD_LETTERS.producers) == bool(find(worker).subscriptions)


def test_the_catalogue_names_nobody_else() -> None:
    owners = {owner for topic in CATALOGUE for owner in (*topic.producers, *topic.consumers)}
    assert owners <= {*WORKERS, "gateway"}
    assert set(WORKERS) <= owners


def test_each_topic_has_a_writer_and_a_reader() -> None:
    for topic in CATALOGUE:
        assert topic.producers, topic.name
        assert topic.consumers, topic.name


def test_consumer_groups_are_apart() -> None:
    groups = [find(worker).group_id for worker in WORKERS]
    assert len(set(groups)) == len(groups)


def spelled(path: Path) -> list[str]:
    """Return where `path` spells a topic name: a dotted one anywhere, a plain word where a call takes a topic."""
    dotted = {name for name in NAMES if "." in name}
    found = [f"{name_of(path)}:{node.lineno}" for node in strings(tree(path)) if node.value in dotted]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and node.args and _called(node) in CALLS:
            first = node.args[0]
            if isinstance(first, ast.Constant) and first.value in NAMES:
                found.append(f"{name_of(path)}:{node.lineno}")
    return found


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def test_no_topic_name_is_spelled_outside_the_catalogue() -> None:
    places = [place for path in sources("schemas", "topics", "infra", "workers", "gateway") for place in spelled(path)]
    assert [place for place in places if not place.startswith("topics/catalogue.py")] == []


def test_the_scan_finds_a_spelled_topic(tmp_path: Path) -> None:
    path = REPOSITORY / "topics" / "catalogue.py"
    assert len(spelled(path)) >= 5


def test_the_readme_shows_the_catalogue() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert section() in readme, "stale: run `millrace topics diagram --write README.md`"
    assert replace_section(readme) == readme
